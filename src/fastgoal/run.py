"""The whole story on the user's own data: split -> match -> train -> evaluate -> report."""

from dataclasses import dataclass, field
from pathlib import Path

from fastgoal.data.columns import Columns
from fastgoal.data.source import open_source
from fastgoal.data.splits import LEAST, split_by_image
from fastgoal.errors import DataError
from fastgoal.report import ReportFiles, ReportInput
from fastgoal.stages import Arm, Experiment, Heading, carry_out, publish
from fastgoal.training import TrainConfig

_TINY_LEARNING_RATE = 1e-4


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What to do with the data.

    model: base model. methods: what to train; `global` is plain fine-tuning and the baseline of the report.
    learning_rate: None takes the papers' 5e-6, or 1e-4 for the bundled `tiny`, which is a hundred times smaller.
    shares: of the images, for training, validation and test.
    limit: use the first samples only. root, columns: see `open_source`.
    """

    model: str
    methods: tuple[str, ...] = ("global", "goal")
    regions: str = "flism"
    detector: str | None = None
    language: str = "en"
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float | None = None
    text_tokens: int = 248
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
    images = len({sample.image for sample in source})
    if images < LEAST:
        what = f"{images} images are too few to train and to measure"
        raise DataError(what, where=data, mend=f"Give at least {LEAST}; a few hundred make the figures mean something.")
    parts = split_by_image(source, settings.shares, settings.seed)
    for name, part in parts.items():
        if not len(part):
            mend = "Give more images, or another --seed, which splits them in another way."
            raise DataError(f"of {images} images none fell into the {name} set", where=data, mend=mend)
    learning_rate = settings.learning_rate or (_TINY_LEARNING_RATE if settings.model == "tiny" else 5e-6)
    shared = {"epochs": settings.epochs, "batch_size": settings.batch_size, "learning_rate": learning_rate}
    experiment = Experiment(
        model=settings.model,
        **parts,
        arms=tuple(Arm(name=m, config=TrainConfig.from_mapping({"method": m, **shared})) for m in settings.methods),
        seeds=(settings.seed,),
        regions=settings.regions,
        detector=settings.detector,
        language=settings.language,
        text_tokens=settings.text_tokens,
        device=settings.device,
    )
    record = carry_out(experiment, Path(out), progress=progress)
    return publish(experiment, record, Heading(title=f"fastgoal on {source.name}", commands=[command]), Path(out))
