"""The tutorial, typed as it stands in an empty folder; in one process, as starting a dozen would take a minute."""

import shlex

import pytest
from tests.pages import ROOT, steps

from fastgoal.cli import main

PAGE = ROOT / "docs" / "tutorial.md"
MADE = (
    "look.png",
    "first/index.html",
    "second/metrics.json",
    "both/index.html",
    "kept/model.safetensors",
)


def test_the_tutorial_works_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = steps(PAGE, "bash", "python")
    assert [language for language, _ in told].count("python") == 2
    for language, text in told:
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), {"__name__": "tutorial"})
            continue
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "fastgoal"
            with pytest.raises(SystemExit) as end:
                main(arguments)
            assert end.value.code == 0, f"{line}\n{capsys.readouterr().err}"
    for made in MADE:
        assert (tmp_path / made).stat().st_size > 500, made
    assert (tmp_path / "index" / "index.json").exists()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("tensor([[")
    assert sum(float(share) for share in last.split("[[")[1].split("]]")[0].split(",")) == pytest.approx(1, abs=1e-3)
    assert "<h1>first and second" in (tmp_path / "both" / "index.html").read_text(encoding="utf-8")
