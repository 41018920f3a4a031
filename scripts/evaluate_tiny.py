"""Measure the bundled model `tiny` and write its card.

python scripts/evaluate_tiny.py [MODEL]      default: the bundled one; the card is written into MODEL/README.md
"""

import json
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.evaluation import PROTOCOLS, ViewSet, evaluate_retrieval
from fastgoal.models.dual_encoder import DualEncoder

LONG = ScenesConfig(train=0, val=0, test=1000, seed=0)
SHORT = ScenesConfig(train=0, val=0, test=100, seed=1, objects=(1, 2), captions="short", contrast=0)

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags: [clip, fastgoal]
---
# tiny

A CLIP of {parameters:,} parameters (96 px images in patches of 12, 128 wide, 4 vision and 3 text layers, 77 text
positions) that comes with fastgoal, so that everything can be tried offline. A stock `CLIPModel` with a stock
`CLIPTokenizer` of {vocabulary:,} tokens.

**Data.** {samples:,} glimpses of drawn scenes (`fastgoal scenes`), each seen once: close-ups of one thing, parts with a
few things, whole scenes; with a phrase, a short caption or a sentence, and in 2 to 4 % of them up to five sentences of
at most 77 tokens. Long captions never occur, as they did not for CLIP. In the first stage 12 % are close-ups, described
without their texture; in the second 42 %, described in full. No photograph, no text but that of the generator: it knows
nothing of the world.

**Training.** `python scripts/pretrain_tiny.py OUT`: batch {batch}, AdamW, two stages of {steps} steps with peak
learning rates of {learning_rate}, each falling along a cosine, seed {seed}, {minutes:.0f} minutes on {hardware} that
were not idle otherwise, torch {torch}.

**Measured** (R@1 in percent with 95 % intervals):

| | items | text to image | image to text |
|---|---|---|---|
{rows}

The long captions are those of the demo's test scenes; half of these come in groups of four that differ in one or two
details. Stretching interpolates the text positions (Long-CLIP); nothing is trained for it.
"""


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else str(files("fastgoal") / "assets" / "tiny"))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for config, kind, protocol, tokens in (
            (SHORT, "short captions, one or two objects", "short-retrieval", 77),
            (LONG, "long captions, 4 to 9 objects, cut at 77 tokens", "long-retrieval", 77),
            (LONG, "long captions, 4 to 9 objects, stretched to 248", "long-retrieval", 248),
        ):
            write_scenes(Path(name) / config.captions, config, progress=False)
            source = open_source(Path(name) / config.captions / "test")
            encoder = DualEncoder.load(str(folder), text_tokens=tokens)
            views = ViewSet.of(source, encoder.fit)
            result = evaluate_retrieval(encoder, source, protocol=PROTOCOLS[protocol], views=views)
            cells = [
                f"{result.t2i['R@1']:.1f} [{result.ci95['t2i']['R@1'][0]:.1f}, {result.ci95['t2i']['R@1'][1]:.1f}]",
                f"{result.i2t['R@1']:.1f} [{result.ci95['i2t']['R@1'][0]:.1f}, {result.ci95['i2t']['R@1'][1]:.1f}]",
            ]
            rows.append(f"| {kind} | {result.items:,} | {cells[0]} | {cells[1]} |")
            print(rows[-1], flush=True)
    facts = json.loads((folder / "pretraining.json").read_text())
    facts |= {name: " and ".join(map(str, facts[name])) for name in ("steps", "learning_rate")}
    card = CARD.format(**facts, minutes=facts["seconds"] / 60, vocabulary=len(encoder.tokenizer), rows="\n".join(rows))
    (folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
