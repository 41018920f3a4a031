"""Losses against the formulas written out by hand, and against finite differences."""

import math

import pytest
import torch
from torch import nn

from fastgoal.errors import ConfigError
from fastgoal.losses import METHODS, LossWeights, caption_hardness, info_nce, pool, sigmoid_loss, token_similarity

MASKS = {"none": [0, 0, 0, 0, 0], "one": [0, 0, 1, 0, 0], "some": [1, 0, 1, 1, 0], "all": [1, 1, 1, 1, 1]}


def unit(*shape, seed=0, grad=False):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.normalize(vectors, dim=-1).requires_grad_(grad)


def info_nce_by_hand(image, text, scale, same, valid):
    """Sums and logarithms of plain numbers, only over the valid rows."""
    rows = [i for i, ok in enumerate(valid) if ok]
    logit = [[float(scale * (image[i] @ text[j])) for j in range(len(text))] for i in range(len(image))]
    total = 0.0
    for i in rows:
        others = [j for j in rows if j == i or not same[i][j]]
        others_of_text = [j for j in rows if j == i or not same[j][i]]
        total += math.log(sum(math.exp(logit[i][j]) for j in others)) - logit[i][i]
        total += math.log(sum(math.exp(logit[j][i]) for j in others_of_text)) - logit[i][i]
    return total / (2 * len(rows)) if rows else 0.0


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("diagonal", [False, True])
def test_info_nce_is_the_formula(mask, diagonal):
    image, text, valid = unit(5, 7), unit(5, 7, seed=1), torch.tensor(MASKS[mask], dtype=torch.bool)
    same = torch.zeros(5, 5, dtype=torch.bool)
    same[0, 2] = same[2, 0] = same[3, 2] = True
    same.fill_diagonal_(diagonal)
    wanted = info_nce_by_hand(image, text, 10.0, same.tolist(), MASKS[mask])
    assert float(info_nce(image, text, 10.0, same, valid)) == pytest.approx(wanted, abs=1e-12)
    if mask == "all":
        plain = info_nce_by_hand(image, text, 10.0, [[False] * 5] * 5, MASKS[mask])
        assert float(info_nce(image, text, 10.0)) == pytest.approx(plain, abs=1e-12)
        assert plain > wanted  # what is not a negative cannot push


def test_info_nce_is_cross_entropy_both_ways():
    image, text = unit(6, 4), unit(6, 4, seed=1)
    logits, labels = 20 * image @ text.T, torch.arange(6)
    wanted = (nn.functional.cross_entropy(logits, labels) + nn.functional.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(info_nce(image, text, 20.0), wanted)


@pytest.mark.parametrize("mask", MASKS)
def test_info_nce_gradients(mask):
    image, text = unit(5, 3, grad=True), unit(5, 3, seed=1, grad=True)
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    same, valid = torch.zeros(5, 5, dtype=torch.bool), torch.tensor(MASKS[mask], dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    assert torch.autograd.gradcheck(lambda i, t, s: info_nce(i, t, s, same, valid), (image, text, scale))


def test_invalid_rows_have_no_say():
    image, text, valid = unit(5, 7), unit(5, 7, seed=1), torch.tensor(MASKS["some"], dtype=torch.bool)
    other_image, other_text = image.clone(), text.clone()
    other_image[~valid], other_text[~valid] = unit(2, 7, seed=2), unit(2, 7, seed=3)
    assert torch.equal(
        info_nce(image, text, 50.0, valid_B=valid), info_nce(other_image, other_text, 50.0, valid_B=valid)
    )
    torch.testing.assert_close(info_nce(image, text, 50.0, valid_B=valid), info_nce(image[valid], text[valid], 50.0))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("target", ["diagonal", "matrix"])
def test_token_similarity_is_the_formula(mask, target):
    pooled, local, rows = unit(5, 7), unit(5, 7, seed=1), [i for i, ok in enumerate(MASKS[mask]) if ok]
    cos = [[sum(float(a) * float(b) for a, b in zip(p, q, strict=True)) for q in local] for p in pooled]
    if target == "diagonal":
        terms = [(cos[i][i] - 1) ** 2 for i in rows]
    else:
        terms = [(cos[i][j] - (i == j)) ** 2 for i in rows for j in rows]
    wanted = sum(terms) / len(terms) if terms else 0.0
    loss = token_similarity(pooled, local, torch.tensor(MASKS[mask]), target=target)
    assert float(loss) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("target", ["diagonal", "matrix"])
def test_token_similarity_gradients(mask, target):
    pooled, local = unit(5, 3, grad=True), unit(5, 3, seed=1, grad=True)
    valid = torch.tensor(MASKS[mask], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda p, q: token_similarity(p, q, valid, target=target), (pooled, local))


def test_stop_gradient_keeps_the_value_and_spares_the_local_side():
    pooled, local = unit(5, 3, grad=True), unit(5, 3, seed=1, grad=True)
    stopped = token_similarity(pooled, local, stop_gradient=True)
    assert torch.equal(stopped, token_similarity(pooled, local))
    stopped.backward()
    assert pooled.grad.abs().sum() > 0
    assert local.grad is None


def test_without_any_valid_pair_the_loss_is_a_zero_that_backpropagates():
    pooled, local = unit(4, 3, grad=True), unit(4, 3, seed=1, grad=True)
    tokens = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    none = torch.zeros(4, dtype=torch.bool)
    from_tokens = nn.functional.normalize(pool(tokens, torch.zeros(4, 1, 6))[:, 0], dim=-1)
    terms = [
        info_nce(pooled, local, 100.0, valid_B=none),
        token_similarity(pooled, local, none),
        token_similarity(pooled, local, none, target="matrix"),
        token_similarity(from_tokens, local, none),
    ]
    sum(terms).backward()
    assert [term.item() for term in terms] == [0, 0, 0, 0]
    for leaf in (pooled, local, tokens):
        assert torch.equal(leaf.grad, torch.zeros_like(leaf))


def test_pool_is_the_weighted_mean():
    tokens = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[[0, 1, 1, 0], [0, 0, 0, 0]], [[1, 0, 0.5, 2], [0, 0, 0, 3]]])
    pooled = pool(tokens, weights)
    torch.testing.assert_close(pooled[0, 0], (tokens[0, 1] + tokens[0, 2]) / 2)
    torch.testing.assert_close(pooled[0, 1], torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(pooled[1, 0], (tokens[1, 0] + 0.5 * tokens[1, 2] + 2 * tokens[1, 3]) / 3.5)
    torch.testing.assert_close(pooled[1, 1], tokens[1, 3])
    assert torch.autograd.gradcheck(lambda t: pool(t, weights), (tokens,))


def test_a_row_of_weight_two_counts_as_two_rows():
    image, text, weight = unit(4, 7), unit(4, 7, seed=1), torch.tensor([2.0, 1.0, 0.0, 0.5])
    logits = 10 * image @ text.T
    each = [
        (logits[i].exp().sum().log() + logits[:, i].exp().sum().log()) / 2 - logits[i, i] for i in range(4)
    ]  # a row of weight 0 asks nothing, but is a negative still
    wanted = (2 * each[0] + each[1] + 0.5 * each[3]) / 3.5
    torch.testing.assert_close(info_nce(image, text, 10.0, weight_B=weight), wanted)
    terms = [(float(p @ q) - 1) ** 2 for p, q in zip(image, text, strict=True)]
    wanted = (2 * terms[0] + terms[1] + 0.5 * terms[3]) / 3.5
    assert float(token_similarity(image, text, weight_B=weight)) == pytest.approx(wanted, abs=1e-12)
    whole = [
        (w * v, w * v * (float(image[i] @ text[j]) - (i == j)) ** 2)
        for i, w in enumerate(weight.tolist())
        for j, v in enumerate(weight.tolist())
    ]
    wanted = sum(loss for _, loss in whole) / sum(share for share, _ in whole)
    found = token_similarity(image, text, weight_B=weight, target="matrix")
    assert float(found) == pytest.approx(wanted, abs=1e-12)


def test_hard_negatives_are_the_formula():
    """Logit of a negative: scale * cos(image, text) + 0.5 * cos(text, text); of the pair itself: scale * cos."""
    image, text = unit(4, 7), unit(4, 7, seed=1)
    total = 0.0
    for i in range(4):
        hard = [0.0 if i == j else 0.5 * float(text[i] @ text[j]) for j in range(4)]
        images = [math.exp(10 * float(image[i] @ text[j]) + hard[j]) for j in range(4)]
        texts = [math.exp(10 * float(image[j] @ text[i]) + hard[j]) for j in range(4)]
        total += math.log(sum(images)) + math.log(sum(texts)) - 2 * 10 * float(image[i] @ text[i])
    image.requires_grad_()
    harder = caption_hardness(text.requires_grad_(), 0.5)
    assert not harder.requires_grad
    loss = info_nce(image, text, 10.0, harder_BB=harder)
    assert loss.item() == pytest.approx(total / 8, abs=1e-12)
    assert torch.autograd.gradcheck(lambda i, t: info_nce(i, t, 3.0, harder_BB=harder), (image, text))
    torch.testing.assert_close(info_nce(image, text, 10.0, harder_BB=0 * harder), info_nce(image, text, 10.0))


def test_autocast_does_not_blur_the_losses():
    image, text = unit(8, 64).float(), unit(8, 64, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce(image, text, 100.0)
        matrix = token_similarity(image, text, target="matrix")
        pooled = pool(image[None], torch.ones(1, 1, 8))
    assert torch.equal(inside, info_nce(image, text, 100.0))
    assert torch.equal(matrix, token_similarity(image, text, target="matrix"))
    assert torch.equal(pooled, pool(image[None], torch.ones(1, 1, 8)))


def test_methods_are_the_ablation_rows():
    rows = {name: (weights.global_, weights.local, weights.tsl) for name, weights in METHODS.items()}
    assert rows == {"global": (1, 0, 0), "local": (0, 1, 0), "no-tsl": (1, 0.5, 0), "goal": (1, 0.5, 1)}


@pytest.mark.parametrize("bad", [(0, 0, 0), (-1, 0, 0), (1, float("nan"), 0), (1, 0, float("inf"))])
def test_weights_that_cannot_teach_are_refused(bad):
    with pytest.raises(ConfigError, match="cannot be used"):
        LossWeights(global_=bad[0], local=bad[1], tsl=bad[2])


def sigmoid_by_hand(image, text, scale, bias, same, valid):
    """SigLIP's equation 1 in plain numbers, only over the valid rows, divided by their number."""
    rows = [i for i, ok in enumerate(valid) if ok]
    total = 0.0
    for i in rows:
        for j in rows:
            if i == j or not same[i][j]:
                sign = 1 if i == j else -1
                total += math.log(1 + math.exp(-sign * (float(scale * (image[i] @ text[j])) + bias)))
    return total / len(rows) if rows else 0.0


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("diagonal", [False, True])
def test_the_sigmoid_loss_is_the_formula(mask, diagonal):
    image, text, valid = unit(5, 7), unit(5, 7, seed=1), torch.tensor(MASKS[mask], dtype=torch.bool)
    same = torch.zeros(5, 5, dtype=torch.bool)
    same[0, 2] = same[2, 0] = same[3, 2] = True  # also where only one of the two directions is marked
    same.fill_diagonal_(diagonal)
    wanted = sigmoid_by_hand(image, text, 10.0, -3.0, same.tolist(), MASKS[mask])
    assert float(sigmoid_loss(image, text, 10.0, -3.0, same, valid)) == pytest.approx(wanted, abs=1e-12)
    if mask == "all":
        plain = sigmoid_by_hand(image, text, 10.0, -3.0, [[False] * 5] * 5, MASKS[mask])
        assert float(sigmoid_loss(image, text, 10.0, -3.0)) == pytest.approx(plain, abs=1e-12)
        assert plain > wanted


@pytest.mark.parametrize("mask", MASKS)
def test_sigmoid_loss_gradients(mask):
    image, text = unit(5, 3, grad=True), unit(5, 3, seed=1, grad=True)
    scale, bias = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (3.0, -2.0))
    same, valid = torch.zeros(5, 5, dtype=torch.bool), torch.tensor(MASKS[mask], dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    loss = lambda *inputs: sigmoid_loss(*inputs, same, valid)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (image, text, scale, bias))


def test_ignored_pairs_have_no_say_in_the_sigmoid_loss():
    image, text = unit(4, 6).requires_grad_(), unit(4, 6, seed=1).requires_grad_()
    valid, same = torch.tensor([True, True, True, False]), torch.zeros(4, 4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = same[0, 2] = same[2, 0] = True
    sigmoid_loss(image, text, 5.0, -1.0, same, valid).backward()
    pull = torch.sigmoid(-(5 * image[0] @ text[0] - 1)) * -5 * text[0] / 3
    torch.testing.assert_close(image.grad[0], pull.detach())  # its own pair alone moves row 0
    assert image.grad[3].abs().sum() == text.grad[3].abs().sum() == 0


def test_sigmoid_weights_count_like_repetitions():
    image, text = unit(3, 6), unit(3, 6, seed=1)
    even, doubled = (sigmoid_loss(image, text, 5.0, -1.0, weight_B=torch.tensor([w, w, w])) for w in (1.0, 2.0))
    torch.testing.assert_close(even, doubled)
    torch.testing.assert_close(even, sigmoid_loss(image, text, 5.0, -1.0))
    alone = sigmoid_loss(image, text, 5.0, -1.0, weight_B=torch.tensor([1.0, 0.0, 0.0]))
    logits, signs = 5 * image @ text.T - 1, 2 * torch.eye(3, dtype=torch.float64) - 1
    loss = -nn.functional.logsigmoid(signs * logits)
    torch.testing.assert_close(alone, (loss[0].sum() + loss[:, 0].sum()) / 2)


def test_the_sigmoid_loss_is_transformers_own():
    from transformers import SiglipConfig, SiglipModel

    tower = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 16}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "vocab_size": 50, "max_position_embeddings": 6}
    torch.manual_seed(0)
    config = SiglipConfig(text_config={**tower, **ids}, vision_config={**tower, "image_size": 8, "patch_size": 4})
    model = SiglipModel(config).eval()
    model.logit_scale.data.fill_(1.5)
    model.logit_bias.data.fill_(-2.0)
    with torch.inference_mode():
        out = model(torch.randint(0, 50, (4, 6)), torch.randn(4, 3, 8, 8), return_loss=True)
        ours = sigmoid_loss(out.image_embeds, out.text_embeds, model.logit_scale.exp().squeeze(), -2.0)
    torch.testing.assert_close(ours, out.loss)


@pytest.mark.parametrize("bias", [0.0, -1e4])
def test_the_sigmoid_loss_stays_finite(bias):
    image, text = unit(3, 4).float(), unit(3, 4, seed=1).float()
    assert torch.isfinite(sigmoid_loss(image, text, 1e4, bias))
