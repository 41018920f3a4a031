"""LISM's benchmark with a SAM of two layers."""

import pytest
from transformers import SamConfig

from fastgoal.bench.masks import lism
from fastgoal.regions import SamRegions

SIDES = {"image_size": 64, "patch_size": 8}
SMALL = SamConfig(
    vision_config={
        **SIDES, "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8,
    },
    mask_decoder_config={
        "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 8,
        "iou_head_depth": 2,
    },
    prompt_encoder_config={**SIDES, "hidden_size": 16, "mask_input_channels": 4},
)  # fmt: skip


def test_a_realistic_share_of_the_masks_passes_and_both_sides_are_rated(monkeypatch):
    counts, propose = [], SamRegions.propose

    def counted(self, images):
        found = propose(self, images)
        counts.append(dict(self.stages))
        return found

    monkeypatch.setattr(SamRegions, "propose", counted)
    alone, whole = lism(config=SMALL, size=(120, 90), points=8, rounds=1)
    assert (alone.unit, whole.unit) == ("masks/s", "images/s")
    assert alone.ours > 0 < alone.reference
    assert whole.ratio.median == pytest.approx(whole.ours / whole.reference)
    assert counts[0]["masks"] == 3 * 8 * 8
    assert 0.05 < counts[0]["predicted IoU"] / counts[0]["masks"] < 0.5
