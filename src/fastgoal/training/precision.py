"""Whether the towers run in bfloat16: measured where the run begins, because no table of devices knows.

bfloat16 is several times faster on one device and several times slower on another, and the size of the model counts as
well. So `auto` times both on the device and with the model at hand, a forward and a backward of both towers, and takes
bfloat16 only where it is clearly faster; float32 is the safer of two equals. Where the answer is known beforehand,
nothing is measured. Weights, losses and optimiser are float32 either way.

The choice belongs to the run as its seed does: it is written down when the run begins, and a continuation reads it.

Shapes: B items, C channels, H x W pixels, T tokens.
"""

import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from fastgoal.files import read_json, write_json
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import TextBatch

CLEARLY_FASTER = 1.15
"""How many times as fast bfloat16 must be."""
ROUNDS = 3
"""Timed passes in each type, by turns, so that a device that warms up or is shared favours neither."""
MOST = {"cpu": 2, "cuda": 32}
"""Items of the measured batch at most: about a second with a ViT-B/16; on a GPU, enough to fill it."""
SMALL = 20_000_000
"""Weights below which a CPU spends on conversions what bfloat16 saves in its small products."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The type that the towers run in, and why."""

    chosen: Literal["fp32", "bf16"]
    reason: str

    def __str__(self) -> str:
        return f"precision {self.chosen}: {self.reason}"

    @property
    def dtype(self) -> torch.dtype | None:
        """For autocast; None is float32."""
        return torch.bfloat16 if self.chosen == "bf16" else None


def settled_precision(
    asked: Literal["auto", "fp32", "bf16"], encoder: DualEncoder, batch_size: int, kept: Path
) -> Precision:
    """The precision of a run: the one in the file `kept`, else chosen now and written there.

    Raises:
        DataError: the disk refuses.
    """
    if (before := read_json(kept)) is not None:
        return Precision(**before)
    choice = choose_precision(encoder, batch_size) if asked == "auto" else Precision(chosen=asked, reason="as asked")
    write_json(kept, asdict(choice))
    return choice


def choose_precision(encoder: DualEncoder, batch_size: int) -> Precision:
    """bfloat16 where it is clearly faster, with batches of `batch_size`. Leaves weights, gradients (none) and random
    state as they were."""
    if (reason := _without_measuring(encoder)) is not None:
        return Precision(chosen="fp32", reason=reason)
    batch = min(batch_size, MOST[encoder.device.type])
    while True:
        try:
            return _measured(encoder, batch)
        except torch.OutOfMemoryError:
            if batch == 1:
                return Precision(chosen="bf16", reason="there is no room for a single item in fp32")
            batch //= 2


def _without_measuring(encoder: DualEncoder) -> str | None:
    """Why bfloat16 cannot be faster here, where that is known."""
    kind = encoder.device.type
    if kind not in MOST:
        return f"bf16 is not used on a device of type {kind}"
    if kind == "cuda":
        return None if torch.cuda.is_bf16_supported(including_emulation=False) else "this GPU has no bf16"
    if not cpu_has_bf16():
        return "this CPU has no bf16 instructions"
    if sum(weights.numel() for weights in encoder.parameters()) < SMALL:
        return "the model is too small for bf16 to pay on a CPU"
    return None


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself.

    On x86 `_is_mkldnn_bf16_supported` says yes to all of AVX-512, where most chips only emulate it; so the two
    extensions are asked for by name there.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _measured(encoder: DualEncoder, batch: int) -> Precision:
    pixels_BCHW, texts = _synthetic(encoder, batch)
    seconds: dict[torch.dtype | None, list[float]] = {None: [], torch.bfloat16: []}
    with torch.random.fork_rng([encoder.device] if encoder.device.type == "cuda" else []):
        for _ in range(1 + ROUNDS):
            for dtype, own in seconds.items():
                own.append(_seconds(encoder, pixels_BCHW, texts, dtype))
    fp32, bf16 = (statistics.median(own[1:]) for own in seconds.values())  # the first pass warms up
    chosen: Literal["fp32", "bf16"] = "bf16" if fp32 >= CLEARLY_FASTER * bf16 else "fp32"
    return Precision(chosen=chosen, reason=f"bf16 took {bf16 / fp32:.2f} times as long here (measured, batch {batch})")


def _synthetic(encoder: DualEncoder, batch: int) -> tuple[torch.Tensor, TextBatch]:
    """Noise, and texts that fill the limit."""
    noise, size = torch.Generator().manual_seed(0), encoder.fit.size
    pixels_BCHW = torch.randn(batch, 3, size, size, generator=noise).to(encoder.device)
    return pixels_BCHW, encoder.tokenize(["word " * encoder.text_limit] * batch).to(encoder.device)


def _seconds(encoder: DualEncoder, pixels_BCHW: torch.Tensor, texts: TextBatch, dtype: torch.dtype | None) -> float:
    """Of one forward and backward of both towers."""
    _wait_for(encoder.device)
    begin = time.perf_counter()
    try:
        with torch.autocast(encoder.device.type, dtype=dtype, enabled=dtype is not None):
            images, (captions,) = encoder(pixels_BCHW, [texts])
        (images.embedding_BD * captions.embedding_BD).sum().backward()
        _wait_for(encoder.device)
    finally:
        encoder.zero_grad()
    return time.perf_counter() - begin


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
