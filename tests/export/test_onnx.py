"""The ONNX files of every family give our embeddings, to who follows their README with nothing of ours or torch's."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from tests.export.conftest import FAMILIES, TEXTS, ours

from fastgoal.cli import main
from fastgoal.errors import ConfigError, ModelError
from fastgoal.export import export
from fastgoal.export.onnx import OPSET, TextTower, gather_files, open_tower
from fastgoal.models.dual_encoder import DualEncoder

AFTER = """
import sys
assert not {"torch", "transformers", "fastgoal"} & set(sys.modules)
np.savez("found.npz", images=encode_images(["photo.jpg"]), texts=encode_texts(json.load(open("texts.json"))))
"""


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request, families, tmp_path_factory):
    """A family's model, the folder, and what was said of it."""
    out = tmp_path_factory.mktemp("onnx") / "out"
    done = export(families[request.param], out, "onnx")
    return families[request.param], out, done


def test_the_example_of_the_readme_gives_our_embeddings(exported, photo):
    encoder, out, _ = exported
    example = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), flags=re.DOTALL)
    assert len(example) == 1
    (out / "photo.jpg").write_bytes(photo)
    (out / "texts.json").write_text(json.dumps(TEXTS))
    run = [sys.executable, "-c", example[0] + AFTER]
    printed = subprocess.run(run, cwd=out, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.startswith("[[")
    found, (images, texts) = np.load(out / "found.npz"), ours(encoder, photo)
    np.testing.assert_allclose(found["images"], images, atol=1e-4)
    np.testing.assert_allclose(found["texts"], texts, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found["texts"], axis=1), 1, atol=1e-5)


def test_the_files_are_sound_and_take_any_batch_and_length(exported):
    encoder, out, done = exported
    for name in ("image", "text"):
        onnx.checker.check_model(out / f"{name}.onnx", full_check=True)
        graph = onnx.load(out / f"{name}.onnx")
        assert [(o.domain, o.version) for o in graph.opset_import] == [("", OPSET)]
    (ids,) = graph.graph.input
    length = str(encoder.text_limit) if encoder.traits.pads_to_limit else "length"
    assert [str(d.dim_param or d.dim_value) for d in ids.type.tensor_type.shape.dim] == ["batch", length]
    assert [check.what for check in done.checks] == ["image.onnx", "text.onnx"]
    assert max(check.difference for check in done.checks) < 1e-5


def test_only_the_last_word_changes_the_embedding(exported):
    """Nothing before the end is taken for the end, whatever its id."""
    encoder, out, _ = exported
    tokens = encoder.tokenize(["a red ball on a table", "a red ball on a lamp"]).input_ids_BT.numpy()
    first, second = open_tower(out / "text.onnx", "input_ids")(tokens)
    assert np.abs(first - second).max() > 1e-3


def test_files_that_differ_leave_nothing_behind(families, tmp_path, monkeypatch):
    def largest(self, ids_BT):
        """A text read at its largest token id, which is its end in OpenAI's vocabulary only."""
        model = self.model
        output = model.text_model.encoder(inputs_embeds=model.text_model.embeddings(ids_BT), is_causal=True)
        tokens_BTW = output.last_hidden_state
        picked_BW = tokens_BTW[torch.arange(ids_BT.shape[0]), ids_BT.argmax(dim=1)]
        return self.family.project_tokens(model, picked_BW)

    monkeypatch.setattr(TextTower, "forward", largest)
    with pytest.raises(ModelError, match=r"text.onnx differs by .* in onnxruntime"):
        export(families["metaclip_2"], tmp_path / "out", "onnx")
    assert not list(tmp_path.iterdir())
    export(families["clip with the end as 2"], tmp_path / "out", "onnx")  # where the end is the largest id, it is right


def test_what_tracing_froze_is_found(families, tmp_path, monkeypatch):
    def frozen(self, ids_BT):
        return self.family.encode_texts(self.model, ids_BT)[0][: len(ids_BT)].reshape(int(ids_BT.shape[0]), -1)

    monkeypatch.setattr(TextTower, "forward", frozen)
    with pytest.raises(ModelError, match=r"text.onnx"):
        export(families["metaclip_2"], tmp_path / "out", "onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_for_every_weight_becomes_one(families, tmp_path):
    """As torch leaves a model beyond 2 GiB."""
    export(families["siglip"], tmp_path / "out", "onnx")
    whole, traced = tmp_path / "out/image.onnx", tmp_path / "traced"
    traced.mkdir()
    options = {"save_as_external_data": True, "all_tensors_to_one_file": False, "size_threshold": 0}
    onnx.save_model(onnx.load(whole), traced / "image.onnx", **options)
    assert len(list(traced.iterdir())) > 10
    gather_files(traced / "image.onnx", tmp_path / "image.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "image.onnx", "image.onnx.data"}
    pixels = np.random.default_rng(0).normal(size=(2, 3, 34, 34)).astype(np.float32)
    first, second = (open_tower(path, "pixel_values")(pixels) for path in (whole, tmp_path / "image.onnx"))
    np.testing.assert_array_equal(first, second)


def test_without_the_extra_its_name_is_said(families, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'fastgoal\[onnx\]'"):
        export(families["metaclip_2"], tmp_path / "out", "onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_says_how_near_it_comes(tmp_path, capsys):
    report = tmp_path / "report.json"
    command = ["export", "tiny", str(tmp_path / "out"), "--format", "onnx", "--tokens", "248", "--json", str(report)]
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 0
    done = json.loads(report.read_text())
    assert (done["format"], done["text_tokens"], done["image_size"], done["dim"]) == ("onnx", 248, 96, 128)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert done["files"] == sizes
    assert [check["what"] for check in done["checks"]] == ["image.onnx", "text.onnx"]
    printed = capsys.readouterr().out
    for check in done["checks"]:
        assert f"differs by at most {check['difference']:.1e} in onnxruntime" in printed
    assert DualEncoder.load("tiny").text_limit == 77  # the bundled model is as it was
