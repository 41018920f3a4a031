"""Trackers of experiments: TensorBoard, W&B, MLflow and others, which get what `history.jsonl` gets.

The Trainer's own callbacks talk to them, each configured by the environment variables that its makers document. What
is ours is that a name that is wrong, or of something that is not installed, is refused before anything is computed.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec

from fastgoal.errors import ConfigError

TRACKERS: dict[str, tuple[str, ...]] = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub", "mlflow"),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""Names as the Trainer knows them, and the modules each needs."""
_PACKAGES = {"azureml": "azureml-core", "comet_ml": "comet-ml"}
"""Where a module is installed under another name."""


def expect_known(names: Iterable[str]) -> None:
    """Refuse names that the Trainer does not know.

    Raises:
        ConfigError: a name that is none of `TRACKERS`.
    """
    for name in names:
        if name not in TRACKERS:
            near = get_close_matches(name, TRACKERS, n=1)
            mend = f"Did you mean {near[0]!r}?" if near else f"Choose from: {', '.join(TRACKERS)}."
            raise ConfigError(f"unknown tracker {name!r}", where="log_to", mend=mend)


def expect_trackers(names: Iterable[str]) -> None:
    """Refuse trackers that cannot be used here.

    Raises:
        ConfigError: a package is missing.
    """
    for name in names:
        missing = [_PACKAGES.get(module, module) for module in TRACKERS[name] if find_spec(module) is None]
        if missing:
            what = f"{name} needs {' and '.join(missing)}, not installed here"
            raise ConfigError(what, where="log_to", mend=f"Run: pip install {' '.join(missing)}.")
