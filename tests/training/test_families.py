"""Every family through the commands: what it can do runs, what it cannot do is refused by name."""

import json

import numpy as np
import pytest
import torch
from tests.families import save_metaclip_2, save_siglip
from transformers import AutoModel, AutoProcessor

from fastgoal.cli import main
from fastgoal.errors import ConfigError
from fastgoal.evaluation import PROTOCOLS, evaluate_localisation
from fastgoal.losses import METHODS
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training import TrainConfig, expect_trainable, train
from fastgoal.training.batches import Collator, Views
from fastgoal.training.objective import Objective


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("families")
    return {"metaclip_2": save_metaclip_2(place / "metaclip_2"), "siglip": save_siglip(place / "siglip")}


def run(*tokens):
    with pytest.raises(SystemExit) as ended:
        main([str(token) for token in tokens])
    return ended.value.code


def captions_of(table, folder):
    lines = [json.dumps({"id": row.id, "image": row.image, "caption": row.caption}) for row in table]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("kind", "method", "limit"),
    [("metaclip_2", "global", 248), ("metaclip_2", "goal", 248), ("siglip", "global", 64), ("siglip", "no-tsl", 64)],
)
def test_two_steps_and_an_evaluation(folders, write_table, tmp_path, kind, method, limit):
    table, out, result = write_table(), tmp_path / "run", tmp_path / "result.json"
    given = ["--method", method, "--max-steps", 2, "--batch-size", 4, "--learning-rate", 1e-3, "--log-every", 1]
    assert run("train", table.folder, "--model", folders[kind], "--out", out, *given, "--val", table.folder) == 0
    before, after = (AutoModel.from_pretrained(folder).state_dict() for folder in (folders[kind], out / "model"))
    assert all(not torch.equal(before[name], after[name]) for name in before if "probe" in name or "visual" in name)
    assert AutoProcessor.from_pretrained(out / "model").tokenizer.model_max_length == limit
    assert type(AutoModel.from_pretrained(out / "model")).__name__ in (out / "model" / "README.md").read_text()
    assert run("eval", out / "model", captions_of(table, table.root), "--json", result) == 0
    found = json.loads(result.read_text())
    assert (found["items"], found["text_tokens"]) == (10, limit)
    assert found["t2i"]["R@25"] == 100


@pytest.mark.parametrize(("method", "weights"), [("goal", {}), ("global", {"tsl_weight": 0.1})])
def test_siglip_refuses_token_similarity(folders, write_table, tmp_path, method, weights):
    encoder = DualEncoder.load(folders["siglip"])
    config = TrainConfig(method=method, **weights)
    with pytest.raises(ConfigError, match="SigLIP has no projection") as caught:
        train(write_table(), encoder, tmp_path / "run", config)
    assert "no-tsl" in caught.value.mend
    assert not (tmp_path / "run").exists()


def test_siglip_refuses_what_softmax_alone_can_do(folders):
    with pytest.raises(ConfigError, match="hard_negatives"):
        expect_trainable(TrainConfig(method="global", hard_negatives=0.5), DualEncoder.load(folders["siglip"]))


@pytest.mark.parametrize("name", ["localisation", "localisation-in-caption"])
def test_siglip_refuses_to_localise(folders, name):
    with pytest.raises(ConfigError, match="cannot localise"):
        evaluate_localisation(DualEncoder.load(folders["siglip"]), [], protocol=PROTOCOLS[name])


def test_siglip_refuses_other_text_limits(folders, write_table, tmp_path, capsys):
    table = write_table()
    for command in (
        ["train", table.folder, "--out", tmp_path / "run", "--method", "global", "--text-tokens", 248, "--model"],
        ["stretch", "--tokens", 128],
        ["eval", "--tokens", 248],
    ):
        name, *rest = command
        given = [name, folders["siglip"], tmp_path / "x", *rest] if name != "train" else [*command, folders["siglip"]]
        assert run(*given) == 2
        said = capsys.readouterr().err
        assert "SigLIP reads 64 tokens" in said and "Leave out the text limit" in said


def test_siglips_objective_is_transformers_own_loss(folders, write_table):
    """The loss of a whole batch, from pixels and captions, against `SiglipModel(..., return_loss=True)`."""
    encoder, table = DualEncoder.load(folders["siglip"]), write_table()
    rows = [table[i] for i in (0, 1, 2, 4)]
    views = Views(table.images, encoder.fit, 0)
    batch = Collator.of(encoder, views, METHODS["no-tsl"])(rows)
    stock = AutoModel.from_pretrained(folders["siglip"]).eval()
    processor = AutoProcessor.from_pretrained(folders["siglip"])
    wanted = {}
    with torch.inference_mode():
        found = Objective(weights=METHODS["no-tsl"])(encoder, batch)
        for name, boxes, texts in (
            ("global", [None] * 4, [row.caption for row in rows]),
            ("local", [row.regions[1].box for row in rows], [row.caption[slice(*row.sentences[2])] for row in rows]),
        ):
            seen = [views(row, [box])[0] for row, box in zip(rows, boxes, strict=True)]
            pixels = torch.tensor(np.stack(seen)).permute(0, 3, 1, 2) / 127.5 - 1
            inputs = processor(text=texts, padding="max_length", truncation=True, return_tensors="pt")
            wanted[name] = stock(pixel_values=pixels, **inputs, return_loss=True).loss
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
