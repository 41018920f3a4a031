"""What an image's embedding attends to, beside the weights that transformers' eager attention hands out."""

import pytest
import torch
from tests.families import save_metaclip_2, save_siglip
from transformers import CLIPModel, MetaClip2Model

from fastgoal.models.dual_encoder import DualEncoder


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", ["clip", "metaclip_2"])
def test_the_class_token_attends_as_eager_attention_says(family, small_clip_folder, tmp_path, pixels):
    folder = small_clip_folder if family == "clip" else save_metaclip_2(tmp_path / "metaclip")
    stock = CLIPModel if family == "clip" else MetaClip2Model
    eager = stock.from_pretrained(folder, attn_implementation="eager").eval()
    encoder = DualEncoder.load(folder)
    with torch.no_grad():
        weights_BKTT = eager.vision_model(pixel_values=pixels, output_attentions=True).attentions[-1]
        before = encoder.encode_images(pixels).embedding_BD
        attention_BP = encoder.image_attention(pixels)
        after = encoder.encode_images(pixels).embedding_BD
    expected_BP = weights_BKTT.mean(1)[:, 0, 1:]
    torch.testing.assert_close(attention_BP, expected_BP / expected_BP.sum(1, keepdim=True), rtol=1e-5, atol=1e-6)
    assert attention_BP.std() > 1e-3
    assert torch.equal(before, after)
    assert not encoder.model.vision_model.encoder.layers[-1].self_attn._forward_pre_hooks


def test_the_probe_of_siglip_attends_as_the_formula_says(tmp_path):
    encoder = DualEncoder.load(save_siglip(tmp_path / "siglip"))
    pixels = torch.randn(2, 3, 34, 34, generator=torch.Generator().manual_seed(0))
    head = encoder.model.vision_model.head
    with torch.no_grad():
        hidden_BPW = encoder.encode_images(pixels).patches_BPW
        query_W, key_W, _ = head.attention.in_proj_weight.chunk(3)
        query_bias, key_bias, _ = head.attention.in_proj_bias.chunk(3)
        query_KA = (head.probe[0, 0] @ query_W.T + query_bias).reshape(2, -1)
        key_BPKA = (hidden_BPW @ key_W.T + key_bias).reshape(2, 16, 2, -1)
        expected_BP = (torch.einsum("ka,bpka->bkp", query_KA, key_BPKA) / query_KA.shape[1] ** 0.5).softmax(-1).mean(1)
        attention_BP = encoder.image_attention(pixels)
    torch.testing.assert_close(attention_BP, expected_BP, rtol=1e-5, atol=1e-6)
    assert not head.attention._forward_hooks


def test_a_hook_is_taken_away_when_the_pass_fails(small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder)
    with pytest.raises(ValueError, match="image size"):
        encoder.image_attention(torch.zeros(1, 3, 16, 16))
    assert not encoder.model.vision_model.encoder.layers[-1].self_attn._forward_pre_hooks
