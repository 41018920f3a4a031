"""CLIP from its definition, in plain torch, on state dicts with the published key layouts and random weights.

Nothing here knows transformers or our tables: pre-norm blocks of `nn.MultiheadAttention` and an MLP, a class token and
learned positions for images, a causal mask and the state at the highest token id for texts (Radford et al. 2021);
Long-CLIP adds the first 20 rows of one position table and the others of a second (Zhang et al. 2024).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": functional.gelu}


@dataclass(frozen=True, kw_only=True)
class Small:
    """Sizes of a small CLIP: (layers, width, width inside the MLPs) of both towers, and the rest."""

    image: tuple[int, int, int] = (2, 48, 120)
    text: tuple[int, int, int] = (3, 32, 128)
    patch: int = 8
    grid: int = 3
    positions: int = 77
    dim: int = 20


def state_dict(vocabulary, small=None, *, text="", second_table=False, seed=0):
    """Random weights under OpenAI's keys; `text` goes before those of the text tower."""
    small, random, weights = small or Small(), torch.Generator().manual_seed(seed), {}

    def put(key, *shape, around=0.0, scale=0.25):
        weights[key] = around + scale * torch.randn(*shape, generator=random)

    def norm(key, width):
        put(f"{key}.weight", width, around=1.0)
        put(f"{key}.bias", width)

    def blocks(key, layers, width, inner):
        for n in range(layers):
            block = f"{key}.transformer.resblocks.{n}".lstrip(".")
            put(f"{block}.attn.in_proj_weight", 3 * width, width)
            put(f"{block}.attn.in_proj_bias", 3 * width)
            put(f"{block}.attn.out_proj.weight", width, width)
            put(f"{block}.attn.out_proj.bias", width)
            norm(f"{block}.ln_1", width)
            put(f"{block}.mlp.c_fc.weight", inner, width)
            put(f"{block}.mlp.c_fc.bias", inner)
            put(f"{block}.mlp.c_proj.weight", width, inner)
            put(f"{block}.mlp.c_proj.bias", width)
            norm(f"{block}.ln_2", width)

    (_, width, _), (_, text_width, _) = small.image, small.text
    put(f"{text}positional_embedding", small.positions, text_width)
    if second_table:
        put("positional_embedding_res", small.positions, text_width)
    put(f"{text}text_projection", text_width, small.dim)
    weights["logit_scale"] = torch.tensor(3.5)
    put("visual.class_embedding", width)
    put("visual.positional_embedding", small.grid**2 + 1, width)
    put("visual.proj", width, small.dim)
    put("visual.conv1.weight", width, 3, small.patch, small.patch, scale=0.1)
    norm("visual.ln_pre", width)
    blocks("visual", *small.image)
    norm("visual.ln_post", width)
    blocks(text.rstrip("."), *small.text)
    put(f"{text}token_embedding.weight", vocabulary, text_width)
    norm(f"{text}ln_final", text_width)
    return weights


def encode_images(weights, pixels_BCHW, *, heads, activation):
    patches = functional.conv2d(
        pixels_BCHW, weights["visual.conv1.weight"], stride=weights["visual.conv1.weight"].shape[-1]
    )
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat([weights["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
    x = norm(x + weights["visual.positional_embedding"], weights, "visual.ln_pre")
    x = transformer(x, weights, "visual.transformer.resblocks", heads, activation, None)
    return functional.normalize(norm(x[:, 0], weights, "visual.ln_post") @ weights["visual.proj"], dim=-1)


def encode_texts(weights, ids_BT, *, heads, activation, text=""):
    """Texts padded with 0, as OpenAI's tokenizer pads."""
    table = weights[f"{text}positional_embedding"]
    if "positional_embedding_res" in weights:
        first = (torch.arange(len(table)) < 20).float()[:, None]
        table = table * first + weights["positional_embedding_res"] * (1 - first)
    length = ids_BT.shape[1]
    x = weights[f"{text}token_embedding.weight"][ids_BT] + table[:length]
    mask = torch.full((length, length), float("-inf")).triu(1)
    x = transformer(x, weights, f"{text}transformer.resblocks", heads, activation, mask)
    x = norm(x, weights, f"{text}ln_final")[torch.arange(len(x)), ids_BT.argmax(-1)]
    return functional.normalize(x @ weights[f"{text}text_projection"], dim=-1)


def transformer(x, weights, blocks, heads, activation, mask):
    n = 0
    while f"{blocks}.{n}.ln_1.weight" in weights:
        block = f"{blocks}.{n}"
        attention = nn.MultiheadAttention(x.shape[-1], heads, batch_first=True).eval()
        own = f"{block}.attn."
        attention.load_state_dict({key.removeprefix(own): w for key, w in weights.items() if key.startswith(own)})
        y = norm(x, weights, f"{block}.ln_1")
        x = x + attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        y = functional.linear(norm(x, weights, f"{block}.ln_2"), *pair(weights, f"{block}.mlp.c_fc"))
        x = x + functional.linear(ACTIVATIONS[activation](y), *pair(weights, f"{block}.mlp.c_proj"))
        n += 1
    return x


def norm(x, weights, key):
    return functional.layer_norm(x, x.shape[-1:], *pair(weights, key), eps=1e-5)


def pair(weights, key):
    return weights[f"{key}.weight"], weights[f"{key}.bias"]
