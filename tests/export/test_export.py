"""What holds for every format: a folder is whole or absent, its card is the hub's, what the disk refuses is said."""

import resource
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import ModelCard

from fastgoal.errors import ConfigError, ModelError
from fastgoal.export import FORMATS, export
from fastgoal.hub import descent
from fastgoal.models.dual_encoder import DualEncoder

SMALL_DISK = """
import resource, sys
from fastgoal.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # the towers are larger
for format in sys.argv[1:]:
    try:
        main(["export", "tiny", f"out-{format}", "--format", format])
    except SystemExit as end:
        print(end.code)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_cards_are_the_hubs(format, families, tmp_path):
    export(families["tiny"], tmp_path / "out", format)
    card = ModelCard.load(tmp_path / "out/README.md")
    library = {"onnx": "onnx", "sentence-transformers": "sentence-transformers", "open-clip": "open_clip"}[format]
    assert (card.data.license, card.data.library_name) == ("apache-2.0", library)
    assert {"clip", "long-captions", "fastgoal"} < set(card.data.tags)
    assert card.data.pipeline_tag == "zero-shot-image-classification"
    assert ".writing" not in card.text and str(tmp_path) not in card.text


def test_a_folder_with_other_things_is_left_alone(families, tmp_path):
    (tmp_path / "photo.jpg").write_text("precious")
    with pytest.raises(ModelError, match="the folder is not empty"):
        export(families["tiny"], tmp_path, "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    (tmp_path / "empty").mkdir()
    export(families["clip with the end as 2"], tmp_path / "empty", "open-clip")
    assert (tmp_path / "empty/open_clip_config.json").is_file()
    with pytest.raises(ModelError, match="the folder is not empty"):
        export(families["tiny"], tmp_path / "empty", "open-clip")


def test_an_unknown_format_is_refused_with_those_there_are(families, tmp_path):
    with pytest.raises(ConfigError, match="Use onnx, sentence-transformers, open-clip"):
        export(families["tiny"], tmp_path / "out", "tflite")


def test_a_model_elsewhere_is_refused(tmp_path, small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder).to("meta")
    with pytest.raises(ConfigError, match="device meta: models are exported from the CPU"):
        export(encoder, tmp_path / "out", "onnx")


def test_what_a_kill_left_is_cleared(families, tmp_path):
    left = tmp_path / ".out.writing"
    left.mkdir()
    (left / "image.onnx").write_bytes(b"half")
    export(families["clip with the end as 2"], tmp_path / "out", "open-clip")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files there")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    run = [sys.executable, "-c", SMALL_DISK, *FORMATS]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["2", "2", "2"], done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("fastgoal: ")]
    for line, format in zip(lines, FORMATS, strict=True):
        assert f"out-{format}" in line and "cannot write here" in line
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_card_says_what_the_models_own_says(tmp_path):
    assert descent("tiny") == {"license": "apache-2.0"}
    assert descent("") == {"license": "unknown"}
    assert descent("openai/clip-vit-base-patch16") == {
        "license": "unknown",
        "base_model": "openai/clip-vit-base-patch16",
    }
    said = {"license": "mit", "base_model": "a/b", "language": ["de"], "tags": ["own"], "model-index": []}
    (tmp_path / "README.md").write_text(f"---\n{yaml.safe_dump(said)}---\n\n# A model\n")
    assert descent(str(tmp_path)) == {"license": "mit", "base_model": "a/b", "language": ["de"]}
    for broken in ("# No head\n", "---\nlicense: [\n---\n", "---\n- a\n---\n", ""):
        (tmp_path / "README.md").write_text(broken)
        assert descent(str(tmp_path)) == {"license": "unknown"}
