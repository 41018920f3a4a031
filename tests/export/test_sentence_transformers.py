"""sentence-transformers itself loads the folder of every family and gives our embeddings."""

import json
from itertools import count

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tests.export.conftest import FAMILIES, TEXTS, ours
from transformers import AutoModel

from fastgoal.data.images import read_image
from fastgoal.errors import ModelError
from fastgoal.export import export, sentence_transformers
from fastgoal.models.dual_encoder import DualEncoder


@pytest.mark.parametrize("family", FAMILIES)
def test_encode_gives_our_embeddings(family, families, photo, tmp_path):
    encoder = families[family]
    done = export(encoder, tmp_path / "out", "sentence-transformers")
    assert {check.what for check in done.checks} == {"texts", "images"}
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    images, texts = ours(encoder, photo)
    np.testing.assert_allclose(model.encode([read_image(photo)]), images, atol=1e-4)
    np.testing.assert_allclose(model.encode(TEXTS), texts, atol=1e-4)
    for text, expected in zip(TEXTS, texts, strict=True):  # alone, a short text is not padded by the others
        np.testing.assert_allclose(model.encode([text])[0], expected, atol=1e-4)
    assert model.max_seq_length == encoder.text_limit
    if encoder.text_limit > 77:  # then what stands behind 77 tokens counts
        repeated = ("A red ball lies here. " * n for n in count(1))
        long = next(text for text in repeated if encoder.tokenize([text]).input_ids_BT.shape[1] > 80)
        first, second = model.encode([long + "A lamp.", long + "A chair."])
        assert np.abs(first - second).max() > 1e-3
    assert model.similarity(model.encode(["a"]), model.encode([read_image(photo)])).shape == (1, 1)
    assert AutoModel.from_pretrained(tmp_path / "out").config.model_type == encoder.model.config.model_type
    assert DualEncoder.load(tmp_path / "out").fingerprint == encoder.fingerprint


def test_siglip_needs_the_padding_that_is_written(families, tmp_path, monkeypatch):
    """Without it, what the library does by itself is found to differ."""
    usual = sentence_transformers._transformer
    monkeypatch.setattr(
        sentence_transformers,
        "_transformer",
        lambda encoder: {k: v for k, v in usual(encoder).items() if k != "processing_kwargs"},
    )
    with pytest.raises(ModelError, match="texts differs by"):
        export(families["siglip"], tmp_path / "out", "sentence-transformers")
    assert not list(tmp_path.iterdir())


def test_without_the_library_it_is_written_unchecked(families, tmp_path, monkeypatch):
    monkeypatch.setattr(sentence_transformers, "find_spec", lambda name: None)
    done = export(families["tiny"], tmp_path / "out", "sentence-transformers")
    assert done.checks == ()
    assert "Not checked" in (tmp_path / "out/README.md").read_text()
    modules = json.loads((tmp_path / "out/modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Normalize"]
