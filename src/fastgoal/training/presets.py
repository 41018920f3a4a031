"""Safe settings from the size of the data and of the model, each with its reason; and what looks wrong in given ones.

The anchors are the papers': 9,647 images, 10 epochs, batch 16 and 5e-6 (GOAL); 100,647 images, 10 epochs, batch 256
(FAST-GOAL). Between and beyond them the number of steps is held near theirs, and the learning rate grows with the
square root of the batch, as it should for Adam (Malladi et al. 2022, arXiv 2205.10287).
"""

import math
from dataclasses import dataclass

from fastgoal.models.dual_encoder import DualEncoder

STEPS = 6_000
"""About as many as GOAL took: enough data makes fewer epochs do."""
MOST_EPOCHS = 10
PAPERS_BATCH, PAPERS_RATE = 16, 5e-6
BATCHES = (16, 32, 64, 128, 256)
SMALL = 20_000_000
"""Parameters below which a model is no CLIP of the papers' kind, and learns at `SMALL_RATE`."""
SMALL_RATE = 1e-4
RATES = (1e-7, 5e-5)
"""Learning rates at batch 16 outside of which a pre-trained CLIP hardly moves, or forgets what it knows."""
LEAST_VALIDATION = 100
"""Images below which one more or less found moves R@1 by more than a point."""
_BYTES = 34
"""Activations of a transformer layer in bytes per token and unit of width, in 16 bits and without the attention matrix
(Korthikanti et al. 2022, arXiv 2205.05198)."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings and, in words, why they are what they are."""

    methods: tuple[str, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    reasons: tuple[str, ...]


def preset(
    samples: int,
    encoder: DualEncoder,
    memory: int | None = None,
    *,
    methods: tuple[str, ...] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
) -> Preset:
    """Settings for training on `samples`; what is given stays as it is.

    Args:
        memory: bytes of the GPU; None on a CPU.
        methods: None is plain fine-tuning beside the papers' method, or the most of it that the model can learn.
    """
    batch = batch_size or batch_for(samples, sample_bytes(encoder), memory)
    passes = epochs or min(MOST_EPOCHS, max(1, round(STEPS * batch / max(samples, 1))))
    small = sum(p.numel() for p in encoder.parameters()) < SMALL
    base = SMALL_RATE if small else PAPERS_RATE
    rate = learning_rate or base * math.sqrt(batch / PAPERS_BATCH)
    steps = passes * math.ceil(samples / batch)
    warmup = warmup_steps if warmup_steps is not None else min(100, steps // 20)
    whole = encoder.traits.projects_parts
    named = methods or ("global", "goal" if whole else "no-tsl")
    where = "on a CPU" if memory is None else f"in {memory / 2**30:.0f} GiB of GPU memory"
    reasons = {
        f"methods {' and '.join(named)}: {encoder.traits.title} has no projection for patches and tokens, which goal's "
        f"token similarity loss needs": methods is None and not whole,
        f"batch {batch}: for {samples:,} samples {where}": batch_size is None,
        f"{passes} epochs: {steps:,} steps (at most {MOST_EPOCHS} epochs, and about {STEPS:,} steps)": epochs is None,
        f"learning rate {rate:.2g}: {base:g} at batch 16 for a {'small' if small else 'pre-trained'} model, times the "
        f"square root of batch / 16": learning_rate is None,
        f"warm-up over {warmup} steps: 5 % of them, at most 100": warmup_steps is None,
    }
    chosen = tuple(reason for reason, is_ours in reasons.items() if is_ours)
    return Preset(
        methods=named,
        epochs=passes,
        batch_size=batch,
        learning_rate=rate,
        warmup_steps=warmup,
        reasons=chosen,
    )


def batch_for(samples: int, bytes_each: int, memory: int | None) -> int:
    """The largest batch that leaves at least 32 steps per epoch and fits into half of the memory; 16 on a CPU, where a
    larger one is no faster."""
    if memory is None:
        return BATCHES[0]
    fitting = [batch for batch in BATCHES if batch * bytes_each <= memory / 2 and batch * 32 <= samples]
    return max(fitting, default=BATCHES[0])


def sample_bytes(encoder: DualEncoder) -> int:
    """What one sample's activations take in bfloat16 training: two views, a full caption, a sentence."""
    vision, text = encoder.model.config.vision_config, encoder.model.config.text_config
    patches = 2 * (encoder.grid**2 + 1) * vision.hidden_size * vision.num_hidden_layers
    texts = 2 if encoder.traits.pads_to_limit else 1.25  # a sentence takes a quarter of a caption, unless padded
    tokens = texts * encoder.text_limit * text.hidden_size * text.num_hidden_layers
    return int(_BYTES * (patches + tokens))


def doubts(chosen: Preset, encoder: DualEncoder, validation_images: int) -> list[str]:
    """What about these settings is likely to end badly, in sentences; empty where nothing is."""
    found = []
    at_16 = chosen.learning_rate / math.sqrt(chosen.batch_size / PAPERS_BATCH)
    if sum(p.numel() for p in encoder.parameters()) >= SMALL and not RATES[0] <= at_16 <= RATES[1]:
        what = "hardly moves a pre-trained CLIP" if at_16 < RATES[0] else "makes a pre-trained CLIP forget"
        found.append(f"A learning rate of {chosen.learning_rate:g} {what}; the papers' is {PAPERS_RATE:g} at batch 16.")
    if validation_images < LEAST_VALIDATION:
        found.append(
            f"{validation_images} validation images are too few to tell weights apart: one image more or less moves "
            f"R@1 by {100 / max(1, validation_images):.1f} points."
        )
    return found
