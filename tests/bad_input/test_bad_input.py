"""Every case of bad input ends as it should: one line and exit code 2, or counted and named, or used; never a
traceback, and what was in the folder before is still there. The table in `docs/bad-input.md` is made of these cases."""

import importlib
import json
import os
import re
from pathlib import Path

import pytest
from tests.bad_input.cases import CASES, LEFT_OUT, REFUSED, Case, good, match

from fastgoal.cli import main

for topic in sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("test_")):
    importlib.import_module(f"tests.bad_input.{topic}")  # registers its cases

DOCS = Path(__file__).parents[2] / "docs" / "bad-input.md"
HEAD = """# Bad input

What happens with it. *Refused*: exit code 2, one line on standard error, nothing written. *Left out*: the sample is
skipped, counted and named in the report, and the work goes on. *Used*: it is no trouble. This table is written by the
tests (`WRITE_DOCS=1 pytest tests/bad_input`).
"""

said: dict[Case, str] = {}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, small_clip_folder):
    """The small model, and a finished pairs table of the good data beside it."""
    folder = tmp_path_factory.mktemp("bad-input")
    good(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(match(), small_clip_folder) == 0
        patch.setenv("SMALL_CLIP", str(small_clip_folder))
        patch.setenv("GOOD_PAIRS", str(folder / "pairs"))
        yield small_clip_folder


def run(command, model):
    with pytest.raises(SystemExit) as end:
        main([str(model) if word == "MODEL" else word for word in command])
    return end.value.code


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_it_ends_well(case, prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = case.make(tmp_path)
    before = contents(tmp_path)
    if case.outcome != REFUSED:
        command = [*command, "--json", "report.json"]
    code = run(command, prepared)
    printed = capsys.readouterr()
    for path, content in before.items():
        assert path.read_bytes() == content, f"{path} was changed"
    if case.outcome == REFUSED:
        assert code == 2, printed.out + printed.err
        lines = [line for line in printed.err.splitlines() if line.startswith("fastgoal: ")] or [plain(printed)]
        assert case.says in plain(printed)
        assert len(lines) == 1
        assert "Traceback" not in printed.err + printed.out
        said[case] = lines[0].removeprefix("fastgoal: ")
        return
    assert code == 0, printed.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["samples"] - report["paired"] >= 0
    assert not (tmp_path / "pwned").exists()
    if case.outcome == LEFT_OUT:
        assert [reason for reason in report["skipped"] if case.says in reason], report["skipped"]
        assert any(case.says in named["reason"] for named in report["skipped_samples"])
        said[case] = next(reason for reason in report["skipped"] if case.says in reason)
    else:
        assert not report["skipped"]
        said[case] = ""


def plain(printed):
    """What cyclopts draws in a box, as one line."""
    text = re.sub(r"[│╭╮╰╯─]", " ", printed.err + printed.out)
    return re.sub(r"\s+", " ", text).strip()


def test_there_are_as_many_cases_as_the_docs_say():
    assert len({(case.group, case.name) for case in CASES}) == len(CASES) >= 150


def test_the_docs_show_these_cases():
    if set(said) != set(CASES):
        pytest.skip("only part of the cases ran")
    text = HEAD
    for group in dict.fromkeys(case.group for case in CASES):
        rows = [case for case in CASES if case.group == group]
        text += f"\n## {group[0].upper()}{group[1:]}\n\n| case | what happens | message |\n|---|---|---|\n"
        text += "".join(f"| {cell(case.name)} | {case.outcome} | {cell(message(case))} |\n" for case in rows)
    if os.environ.get("WRITE_DOCS"):
        DOCS.parent.mkdir(exist_ok=True)
        DOCS.write_text(text, encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == text


def message(case):
    """What was said, without the folder of the test and without the words of other libraries, which change."""
    text = re.sub(r"/\S*?/test_it_ends_well[^/]*/", "", said[case])
    text = re.sub(r"/\S*small-clip", "MODEL", text)
    text = re.sub(r"'[0-9a-f]{16}'", "'…'", text)
    text = re.sub(r"cannot be loaded: .*?\. (?=[A-Z])", "cannot be loaded: …. ", text)
    return re.sub(r"(not JSON[^:]*: )[^.]*", r"\1…", re.sub(r"\((?!one \{)[^()]*(\([^()]*\)[^()]*)*\)", "(…)", text))


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")[:300]


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
