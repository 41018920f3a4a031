"""The model card that goes with trained weights: what they are, how they were made, how to use them.

Generated from the run, so that it cannot say anything else than what was done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

from fastgoal.hub import Measured, descent, front_matter, model_index
from fastgoal.models.folder import HUB_ID
from fastgoal.training.config import TrainConfig

_USAGE = """\
```python
from transformers import {model}, {processor}

model = {model}.from_pretrained("FOLDER")
processor = {processor}.from_pretrained("FOLDER")
```"""
_PADDING = 'It reads a text at its last position: call the processor with `padding="max_length", truncation=True`.\n\n'


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says. base: name of the starting weights, a folder or hub id. data, held_out: names of the training
    and validation tables. language: of the captions. `validation` is the mean R@1 of both directions in percent at
    `step`, None if nothing was held out. title, classes: what the architecture is called, and transformers' model and
    processor for it. pads_to_limit: as in `Traits`.
    """

    base: str
    data: str
    held_out: str
    language: str
    title: str
    classes: tuple[str, str]
    pads_to_limit: bool
    samples: int
    unpaired: int
    text_limit: int
    image_size: int
    step: int
    validation: float | None
    start: float | None = None


def model_card(facts: CardFacts, config: TrainConfig) -> str:
    """README.md of a model folder, with the hub's front matter."""
    weights = config.weights
    base = Path(facts.base).name or f"a {facts.title} model"
    return f"""{front_matter(_metadata(facts, config, base))}

# {base}, fine-tuned for long captions

A {facts.title} dual encoder trained with method `{config.method}`, after GOAL (arXiv 2503.17782) and FAST-GOAL (arXiv
2605.26615). Loss weights: global {weights.global_:g}, local {weights.local:g}, token similarity {weights.tsl:g}.

| | |
|---|---|
| starting weights | {facts.base if HUB_ID.fullmatch(facts.base) else base} |
| training samples | of `{facts.data}`: {facts.samples:,} ({facts.unpaired:,} without a local pair) |
| text limit | {facts.text_limit} tokens |
| image input | {facts.image_size} x {facts.image_size} pixels |
| weights of step | {facts.step:,} |
| validation R@1 | {_validation(facts)} |
| batch, learning rate | {config.batch_size}, {config.learning_rate:g} ({config.schedule}) |
| weight decay, seed | {config.weight_decay:g}, {config.seed} |
| versions | fastgoal {version("fastgoal")}, torch {torch.__version__}, transformers {transformers.__version__} |

## Use
It is a plain transformers folder; nothing of fastgoal is needed to load it.

{_PADDING if facts.pads_to_limit else ""}{_USAGE.format(model=facts.classes[0], processor=facts.classes[1])}

## Limits
It was tuned on captions and images like those of its training data; what it does elsewhere was not measured. The
validation figure chose the weights and is therefore a little optimistic: measure on samples that were never looked at.
Captions are read up to the text limit and cut there. The licence and the limits of the starting weights apply.
"""


def _metadata(facts: CardFacts, config: TrainConfig, base: str) -> Mapping[str, Any]:
    measured = []
    if facts.validation is not None:
        metrics = {"R@1, mean of both directions": facts.validation}
        measured.append(Measured(protocol="validation", data=facts.held_out, metrics=metrics))
    return {
        **descent(facts.base),
        "language": [facts.language],
        "library_name": "transformers",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": [facts.classes[0].removesuffix("Model").lower(), "image-text-retrieval", "long-captions", "fastgoal"],
        **model_index(f"{base}-{config.method}", measured),
    }


def _validation(facts: CardFacts) -> str:
    if facts.validation is None:
        return "not measured (no validation samples)"
    before = "" if facts.start is None else f" (before training: {facts.start:.2f})"
    return f"{facts.validation:.2f} %{before}, mean of text-to-image and image-to-text"
