"""What several commands share: options, the command as it was typed, results as JSON."""

import json
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from fastgoal.data.columns import Columns
from fastgoal.data.source import Source
from fastgoal.errors import ConfigError, DataError
from fastgoal.files import make_folder, write_json
from fastgoal.remote.place import Place, place_of

if TYPE_CHECKING:
    from fastgoal.cluster.session import Cluster

SHOWN = 3
"""Problems that are named before the others are counted."""
Json = Annotated[Path | None, Parameter(name="--json", help="Write the result to this file as JSON.")]
Device = Annotated[str, Parameter(help="Where the models run: cpu, cuda, cuda:1, mps.")]
Detector = Annotated[
    str | None, Parameter(help="Object detector, or with --regions open-vocabulary an OWLv2: a local folder or hub id.")
]
Sam = Annotated[
    str | None, Parameter(help="SAM for --regions lism: a local folder or hub id (default: facebook/sam-vit-huge).")
]
Limit = Annotated[int | None, Parameter(help="Use the first N samples only.")]


def _place(_: Any, tokens: Sequence[Token]) -> Place:
    """A path would lose one of a URL's slashes."""
    return place_of(tokens[0].value)


Data = Annotated[Place, Parameter(converter=_place, n_tokens=1, accepts_keys=False)]
"""A file or folder, here or in object storage."""
Root = Annotated[
    Place | None,
    Parameter(
        converter=_place,
        n_tokens=1,
        accepts_keys=False,
        help="Folder or URL that image paths are relative to (default: the data's own).",
    ),
]
SettingsFile = Annotated[Path | None, Parameter(help="YAML file of the settings below; flags win over it.")]


@dataclass(frozen=True, kw_only=True)
class ColumnFlags:
    """The names of the data's columns, where they are not the usual ones."""

    image_column: str | None = None
    """Column of images, if not a usual name."""
    caption_column: str | None = None
    """Column of captions, if not a usual name."""
    id_column: str | None = None
    """Column of ids, if not a usual name."""

    @property
    def given(self) -> Columns:
        return Columns(image=self.image_column, caption=self.caption_column, id=self.id_column)


ColumnNames = Annotated[ColumnFlags, Parameter(name="*", group="Columns")]
USUAL = ColumnFlags()

Engine = Annotated[
    Literal["local", "ray"], Parameter(help="Who computes: this process, or a Ray cluster (`fastgoal[cluster]`).")
]


@dataclass(frozen=True, kw_only=True)
class ClusterFlags:
    """What of a cluster is used, with `--engine ray`."""

    address: str | None = None
    """HOST:PORT of a running one (default: one is started on this machine)."""
    workers: int | None = None
    """Processes with models of their own (default: as many as there is room for)."""
    gpus_per_worker: float | None = None
    """Share of a GPU for each, such as 0.5 (default: none; they compute on CPUs)."""

    def cluster(self, engine: str, device: str) -> "Cluster | None":
        """The cluster that is asked for; None for this process alone.

        Raises:
            ConfigError: flags that do not go together, or are out of range.
        """
        from fastgoal.cluster.session import Cluster

        given = [name for name, value in vars(self).items() if value is not None]
        if engine == "local":
            if given:
                flag = "--" + given[0].replace("_", "-")
                raise ConfigError("nothing to do with --engine local", where=flag, mend="Add --engine ray.")
            return None
        if device != "cpu":
            mend = "Say --gpus-per-worker 1 instead, or a smaller share."
            raise ConfigError("workers of a cluster have their own devices", where=f"--device {device}", mend=mend)
        return Cluster(address=self.address, workers=self.workers, gpus_per_worker=self.gpus_per_worker or 0.0)


OfCluster = Annotated[ClusterFlags, Parameter(name="*", group="Cluster")]
ALONE = ClusterFlags()


def typed() -> str:
    """The command line as one would type it again."""
    return shlex.join(["fastgoal", *sys.argv[1:]])


def write_result(path: Path | None, result: Mapping[str, Any]) -> None:
    """Write a result where `--json` says.

    Raises:
        DataError: the disk refuses.
    """
    if path is not None:
        make_folder(path.parent)
        write_json(path, result)


def quiet_libraries() -> None:
    """No bars and advice of transformers and Pillow between ours; what Pillow warns of, `read_image` judges."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module=r"PIL\.")


def tell_problems(source: Source) -> None:
    """Say on standard error what a source leaves out."""
    problems = source.problems
    for error in problems.first[:SHOWN]:
        print(f"left out: {error}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"left out: {len(problems) - SHOWN:,} more (`fastgoal check` lists them)", file=sys.stderr)


def read_metrics(run: Path) -> dict[str, Any]:
    """The `metrics.json` of a finished demo or run."""
    path = run / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        mend = "Name the folder of a finished `fastgoal demo` or `fastgoal run`."
        raise DataError(f"cannot be read ({error})", where=path, mend=mend) from None
    return metrics
