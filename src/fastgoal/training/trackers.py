"""Trackers of experiments: TensorBoard, W&B, MLflow and others, which get what `history.jsonl` gets.

The Trainer's own callbacks talk to them, each configured by the environment variables that its makers document. What
is ours is that a name that is wrong, or of something that is not installed, is refused before anything is computed; and
that a tracker which fails later, such as a server that is gone, does not take the training with it.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from typing import Any

from fastgoal.errors import ConfigError, first_line
from fastgoal.watch import Say, said_aloud

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


def guard(callbacks: Iterable[Any], names: Iterable[str], say: Say = said_aloud) -> None:
    """Make failures of trackers harmless, in place: one that fails when training begins is refused by a `ConfigError`,
    one that fails later is told of once, and left alone from then on.

    Args:
        callbacks: the Trainer's, trackers and others. names: as in `TRACKERS`.
    """
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK  # slow to import

    name_of = {INTEGRATION_TO_CALLBACK[name]: name for name in names}
    for callback in callbacks:
        if type(callback) in name_of:
            failed: list[str] = []
            for event in (name for name in dir(callback) if name.startswith("on_")):
                call = getattr(callback, event)
                setattr(callback, event, partial(_tried, call, event, name_of[type(callback)], failed, say))


def _tried(
    call: Callable[..., Any], event: str, tracker: str, failed: list[str], say: Say, *given: Any, **named: Any
) -> Any:
    if failed:
        return None
    try:
        return call(*given, **named)
    except Exception as error:  # each has its own
        why = f"{tracker} failed ({first_line(error)})"
        if event == "on_train_begin":
            mend = "Set it up as its makers say, or leave it out; --resume begins again."
            raise ConfigError(why, where="log_to", mend=mend) from error
        failed.append(event)
        say(f"{why}; it is left alone from here on, and history.jsonl has everything")
        return None
