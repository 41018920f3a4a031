"""Work of realistic size without data: random weights of a real architecture, captions of real lengths, random pixels.

How many tokens the sentences of a caption have decides what a step costs, so these are real: 256 captions of DOCCI's
test set, evenly spread over their lengths, as CLIP's tokenizer counts them (`docci_lengths.txt`, a caption per line).
Their words are made up: words that are a single token of the tokenizer at hand.

Shapes: H = W = side of the model's input, C = 3 channels.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.bench.photograph import photo
from fastgoal.data.samples import Span
from fastgoal.embed import View
from fastgoal.geometry import Box
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import read_tokenizer
from fastgoal.models.longtext import LONG_CLIP_TOKENS
from fastgoal.pairs import LocalPair, PairsRow, PairsTable, PairsWriter
from fastgoal.regions.region import Region

VIT_B_16 = "vit-b-16"
"""What the benchmarks call a CLIP of OpenAI's ViT-B/16 shape with random weights."""
_VOCABULARY = 49_408


@cache
def docci_lengths() -> tuple[tuple[int, ...], ...]:
    """Tokens of each sentence of 256 captions, without begin and end."""
    lines = files("fastgoal.bench").joinpath("docci_lengths.txt").read_text().splitlines()
    return tuple(tuple(map(int, line.split())) for line in lines)


def load(name: str, device: torch.device | str = "cpu", tokens: int = LONG_CLIP_TOKENS) -> DualEncoder:
    """A model by name, with `tokens` text positions; `vit-b-16` has random weights and the bundled model's tokenizer.

    Raises:
        ModelError: as `DualEncoder.load`.
    """
    if name != VIT_B_16:
        return DualEncoder.load(name, device=device, text_tokens=tokens)
    tokenizer, _ = read_tokenizer("tiny")
    ids = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {**ids, "vocab_size": _VOCABULARY, "max_position_embeddings": tokens}
    config = CLIPConfig(text_config=text, vision_config={"patch_size": 16})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = CLIPModel(config)
    return DualEncoder(model, tokenizer, CLIPImageProcessorPil(), name=name).to(device).eval()


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples with their best pair, and the two views of each: the whole image and the region's crop."""

    rows: tuple[PairsRow, ...]
    views: tuple[tuple[View, View], ...]

    def __call__(self, row: PairsRow, boxes: Sequence[Box | None]) -> list[View]:
        """As `training.batches.Views`: one view per box; None is the whole image."""
        own = self.views[int(row.image)]
        return [own[0 if box is None else 1] for box in boxes]


def samples(encoder: DualEncoder, count: int, seed: int = 0) -> Samples:
    """Random square pictures with captions of DOCCI's lengths, each with one local pair whose sentence can be seen."""
    rng, words, size = np.random.default_rng(seed), one_token_words(encoder.tokenizer), encoder.fit.size
    lengths = islice(cycle(docci_lengths()), count)
    rows = tuple(_row(number, own, words, size, rng, encoder.text_limit) for number, own in enumerate(lengths))
    pixels = rng.integers(0, 256, (count, 2, size, size, 3), dtype=np.uint8)
    return Samples(rows=rows, views=tuple((whole, crop) for whole, crop in pixels))


PHOTO = (2000, 1500)
"""Width and height of the photographs that are decoded."""


def photo_table(folder: Path, encoder: DualEncoder, count: int, seed: int = 0) -> PairsTable:
    """A pairs table of JPEG files of a photograph's size and weight, with captions as in `samples`; every sample's crop
    is the middle of it."""
    (width, height), data = PHOTO, photo(*PHOTO)
    region = Region(box=(width / 4, height / 4, 3 * width / 4, 3 * height / 4), source="fixed")
    folder.mkdir(parents=True)
    with PairsWriter(folder / "pairs", root=folder) as writer:
        for row in samples(encoder, count, seed).rows:
            (folder / f"{row.image}.jpg").write_bytes(data)
            writer.add(replace(row, image=f"{row.image}.jpg", width=width, height=height, regions=(region,)))
    return PairsTable.open(folder / "pairs")


def _row(
    number: int, lengths: Sequence[int], words: Sequence[str], size: int, rng: np.random.Generator, limit: int
) -> PairsRow:
    sentences = [" ".join([*rng.choice(words, max(1, count - 1)), "."]) for count in lengths]
    spans: list[Span] = []
    for sentence in sentences:
        start = spans[-1][1] + 1 if spans else 0
        spans.append((start, start + len(sentence)))
    ends = np.cumsum(lengths) + 1
    chosen = int(rng.integers(max(1, int((ends < limit).sum()))))
    x1, y1 = (float(v) for v in rng.integers(0, size // 2, 2))
    box = (x1, y1, x1 + size // 4, y1 + size // 3)
    return PairsRow(
        id=f"sample-{number}",
        image=str(number),
        width=size,
        height=size,
        caption=" ".join(sentences),
        sentences=tuple(spans),
        regions=(Region(box=box, source="fixed"),),
        pairs=(LocalPair(sentence=chosen, region=0, similarity=0.3),),
    )


def one_token_words(tokenizer: Any) -> list[str]:
    """Lower-case words that the tokenizer knows as one token each, in a fixed mixed order."""
    known = sorted(token.removesuffix("</w>") for token in tokenizer.get_vocab() if token.endswith("</w>"))
    words = [word for word in known if len(word) > 2 and word.isascii() and word.isalpha()]
    ids = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
    single = [word for word, own in zip(words, ids, strict=True) if len(own) == 1]
    random.Random(0).shuffle(single)
    return single
