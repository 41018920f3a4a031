"""The whole story on the user's own data: split -> match -> train -> evaluate -> report."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fastgoal.data.columns import Columns
from fastgoal.data.source import Source, open_source
from fastgoal.data.splits import LEAST, same_pictures, split_by_image
from fastgoal.errors import DataError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.report import ReportFiles, ReportInput
from fastgoal.stages import Arm, Experiment, Heading, carry_out, publish
from fastgoal.training import TrainConfig
from fastgoal.training.presets import Preset, preset
from fastgoal.training.presets import doubts as doubts_about


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What to do with the data.

    model: base model. regions, detector, sam, matcher: see `Experiment`.
    methods: what to train; `global` is plain fine-tuning and the baseline of the report. None is `global` and `goal`,
        or `no-tsl` in the place of `goal` for a model that cannot learn by token similarity.
    epochs, batch_size, learning_rate, warmup_steps: None derives them from the size of the data and of the model (see
        `training.presets`); the report says why.
    text_tokens: the text limit; None as in `TrainConfig`.
    shares: of the images, for training, validation and test.
    limit: use the first samples only. root, columns: see `open_source`.
    """

    model: str
    methods: tuple[str, ...] | None = None
    regions: str = "flism"
    detector: str | None = None
    sam: str | None = None
    matcher: str | None = None
    language: str = "en"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    warmup_steps: int | None = None
    text_tokens: int | None = None
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 1337
    limit: int | None = None
    root: str | None = None
    columns: Columns = field(default_factory=Columns)
    device: str = "cpu"


def run(
    data: str | Path, out: str | Path, settings: RunSettings, *, command: str = "", progress: bool = True
) -> tuple[ReportInput, ReportFiles]:
    """Prepare, train, evaluate and report in `out`; started again after an interruption, it continues.

    Raises:
        DataError: fewer than 20 images, or data that cannot be read.
        FastgoalError: whatever a stage refuses.
    """
    source = open_source(data, root=settings.root, limit=settings.limit, columns=settings.columns)
    parts, twins = _split(source, settings)
    chosen, doubts = _settings(settings, parts, twins)
    if progress:
        for line in (
            *(f"settings: {reason}" for reason in chosen.reasons),
            *(f"doubtful: {doubt}" for doubt in doubts),
        ):
            print(line, file=sys.stderr)
    experiment = _experiment(settings, parts, chosen)
    record = carry_out(experiment, Path(out), progress=progress)
    title = f"fastgoal on {source.name}"
    heading = Heading(title=title, commands=[command], reasons=chosen.reasons, doubts=doubts)
    return publish(experiment, record, heading, Path(out))


def _split(source: Source, settings: RunSettings) -> tuple[dict[str, Source], int]:
    """The three sets, and how many images are there a second time under another name."""
    images = len({sample.image for sample in source})
    if images < LEAST:
        what = f"{images} images are too few to train and to measure"
        mend = f"Give at least {LEAST}; a few hundred make the figures mean something."
        raise DataError(what, where=source.name, mend=mend)
    same = same_pictures(source)
    parts = split_by_image(source, settings.shares, settings.seed, same)
    for name, part in parts.items():
        if not len(part):
            mend = "Give more images, or another --seed, which splits them in another way."
            raise DataError(f"of {images} images none fell into the {name} set", where=source.name, mend=mend)
    return parts, len(same)


def _experiment(settings: RunSettings, parts: Mapping[str, Source], chosen: Preset) -> Experiment:
    shared = {name: getattr(chosen, name) for name in ("epochs", "batch_size", "learning_rate", "warmup_steps")}
    return Experiment(
        model=settings.model,
        train=parts["train"],
        val=parts["val"],
        test=parts["test"],
        short="first sentences",
        arms=tuple(Arm(name=m, config=TrainConfig.from_mapping({"method": m, **shared})) for m in chosen.methods),
        seeds=(settings.seed,),
        regions=settings.regions,
        detector=settings.detector,
        sam=settings.sam,
        matcher=settings.matcher,
        language=settings.language,
        text_tokens=settings.text_tokens,
        device=settings.device,
    )


def _settings(settings: RunSettings, parts: Mapping[str, Source], twins: int) -> tuple[Preset, list[str]]:
    """What to train with, and what is doubtful about it."""
    encoder = DualEncoder.load(settings.model)
    encoder.set_text_limit(encoder.limit_for(settings.text_tokens))
    cuda = settings.device.startswith("cuda") and torch.cuda.is_available()
    memory = torch.cuda.mem_get_info(torch.device(settings.device))[1] if cuda else None
    given = {
        name: getattr(settings, name) for name in ("methods", "epochs", "batch_size", "learning_rate", "warmup_steps")
    }
    chosen = preset(len(parts["train"]), encoder, memory, **given)
    doubts = doubts_about(chosen, encoder, len({sample.image for sample in parts["val"]}))
    if twins:
        doubts.append(f"{twins} images are there twice, under two names; each stays in one set with its twin.")
    return chosen, doubts
