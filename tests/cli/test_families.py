"""Commands with models that are no CLIP: what a person sees, and what stands in the result."""

import json
from dataclasses import replace

import pytest
import torch
from tests.baselines import save_blip2, stand_in_open_clip
from tests.families import save_metaclip_2, save_siglip
from transformers import SiglipModel

from fastgoal.cli import main
from fastgoal.data.benchmarks.layout import write_like
from fastgoal.data.scenes import ScenesConfig, draw_samples
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.recipes import Places, follow, recipe_named
from fastgoal.recipes.recipe import Measure
from fastgoal.recipes.words import beside


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("families")
    return {
        "metaclip_2": save_metaclip_2(place / "metaclip_2"),
        "siglip": save_siglip(place / "siglip"),
        "blip-2": save_blip2(place / "blip-2"),
    }


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    """DOCCI's test set in small, under its name."""
    folder = tmp_path_factory.mktemp("benchmarks")
    write_like("docci", folder / "docci", draw_samples(ScenesConfig(), "test", 4))
    return folder


def typed(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


@pytest.mark.parametrize(
    ("kind", "given", "limit"),
    [
        ("metaclip_2", (), 248),
        ("siglip", (), 64),
        ("siglip", ("--protocol", "docci-sentence-average"), 64),
        ("blip-2", (), 20),
        ("blip-2", ("--tokens", 12, "--rerank", 2), 12),
        ("open_clip", (), 6),
    ],
)
def test_a_pinned_limit_is_for_models_that_stretch(
    folders, benchmarks, tmp_path, capsys, monkeypatch, kind, given, limit
):
    stand_in_open_clip(monkeypatch)
    model = folders.get(kind, "open_clip:EVA02-B-16@merged2b")
    words = ("eval", model, "docci", "--root", benchmarks / "docci", "--allow-partial", *given)
    assert typed(*words, "--json", tmp_path / "result.json") == 0
    pinned = 77 if "--protocol" in given else 248
    said, result = capsys.readouterr().out, json.loads((tmp_path / "result.json").read_text())
    assert (result["text_tokens"], result["expected_tokens"]) == (limit, pinned)
    assert (f"{limit} tokens in place of the protocol's {pinned} (" in said) == (limit != pinned)


def test_another_limit_is_still_refused(folders, benchmarks, capsys):
    words = ("docci", "--root", benchmarks / "docci", "--allow-partial", "--tokens")
    assert typed("eval", folders["siglip"], *words, 248) == 2
    said = capsys.readouterr().err
    assert "SigLIP reads 64 tokens" in said and "Leave out the text limit" in said
    assert typed("eval", folders["metaclip_2"], *words, 77) == 2
    assert "texts of 248 tokens expected, but the model reads 77" in capsys.readouterr().err


def test_a_recipe_measures_open_clip_at_its_own_limit(benchmarks, tmp_path, monkeypatch):
    stand_in_open_clip(monkeypatch)
    recipe = recipe_named("fast-t3-eva-clip")
    recipe = replace(recipe, measure=(Measure(data="docci/test", task="retrieval"),))
    outcome = follow(recipe, Places(data=benchmarks, out=tmp_path), allow_partial=True, progress=False)
    result = outcome.results["docci-test"]
    assert (result.text_tokens, result.expected_tokens, result.model) == (6, 248, "fast-t3-eva-clip")
    assert "6 tokens in place of the protocol's 248" in beside(outcome)


@pytest.mark.parametrize(("kind", "limit"), [("siglip", 64), ("metaclip_2", 77)])
def test_check_counts_by_the_models_own_tokenizer(folders, tmp_path, kind, limit):
    folder = tmp_path / "data"
    folder.mkdir()
    for sample, image in draw_samples(ScenesConfig(), "test", 3):
        image.save(folder / f"{sample.id}.png")
        (folder / f"{sample.id}.txt").write_text(sample.caption)
    assert typed("check", folder, "--model", folders[kind], "--json", tmp_path / "result.json") == 0
    tokenizer = DualEncoder.load(folders[kind]).tokenizer
    lengths = [len(tokenizer(text.read_text()).input_ids) for text in folder.glob("*.txt")]
    facts = json.loads((tmp_path / "result.json").read_text())["captions"]
    assert (facts["limit"], facts["tokens"]["least"], facts["tokens"]["most"]) == (limit, min(lengths), max(lengths))


def test_two_siglips_blend_into_one_that_transformers_reads(folders, tmp_path):
    tuned = DualEncoder.load(folders["siglip"])
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter += 0.1
    tuned.save(tmp_path / "tuned")
    words = ("blend", folders["siglip"], tmp_path / "tuned", tmp_path / "blend", "--alpha", 0.25)
    assert typed(*words) == 0
    base, mixed = (SiglipModel.from_pretrained(folder).state_dict() for folder in (folders["siglip"], words[3]))
    for name, value in base.items():
        torch.testing.assert_close(mixed[name], value + (0.025 if value.is_floating_point() else 0))
    assert typed("blend", folders["siglip"], folders["metaclip_2"], tmp_path / "x", "--alpha", 0.5) == 2


def test_a_metaclip_2_can_be_stretched_and_a_blip_2_not(folders, tmp_path, capsys):
    assert typed("stretch", folders["metaclip_2"], tmp_path / "long", "--tokens", 120) == 0
    assert DualEncoder.load(tmp_path / "long").text_limit == 120
    capsys.readouterr()
    assert typed("stretch", folders["blip-2"], tmp_path / "x", "--tokens", 120) == 2
    assert "evaluated but not trained" in capsys.readouterr().err
