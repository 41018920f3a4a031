"""The commands of `docs/own-dataset.md`, as they stand but for the models, which have to be here, and the steps."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from tests.captioning.conftest import draw
from tests.captioning.models import llava_next, save

from fastgoal.cli import main

DOCS = Path(__file__).parents[1] / "docs" / "own-dataset.md"
MODELS = {
    "llava-hf/llava-v1.6-mistral-7b-hf": "captioner",
    "openai/clip-vit-large-patch14": "tiny",
    "openai/clip-vit-base-patch16": "tiny",
}


def commands() -> list[list[str]]:
    block = re.search(r"```bash\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert block is not None
    text = block[1].replace(" --device cuda", "").replace(" --detector hustvl/yolos-base", "")
    for name, here in MODELS.items():
        text = text.replace(name, here)
    return [shlex.split(line)[1:] for line in text.splitlines()]


def test_from_a_folder_of_images_to_a_trained_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "photos", 24)
    save(llava_next, tmp_path / "captioner")
    few = {"caption": ["--max-new-tokens", "8"], "train": ["--max-steps", "1", "--batch-size", "4"]}
    printed = []
    for command in commands():
        with pytest.raises(SystemExit) as end:
            main([*command, *few.get(command[0], [])])
        out, err = capsys.readouterr()
        assert end.value.code == 0, err
        printed.append(out)
    assert [command[0] for command in commands()] == ["caption", "check", "caption", "match", "card", "train"]
    assert printed[0].startswith("20 of 20 images have a caption")
    assert printed[2].startswith("24 of 24 images have a caption")
    assert "Next: fastgoal check captioned" in printed[2]
    front, body = (tmp_path / "card.md").read_text().split("---\n", 2)[1:]
    assert yaml.safe_load(front)["license"] == "cc-by-4.0"
    assert "| samples | 24 |" in body
    assert (tmp_path / "run" / "model" / "config.json").is_file()
    assert not list((tmp_path / "captioned").glob("*.png"))
    assert json.loads((tmp_path / "captioned" / "caption.json").read_text())["complete"]
