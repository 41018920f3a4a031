"""What the exam found, put into the cards of the models that sat it, in the hub's form."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastgoal.evaluation import EvalResult
from fastgoal.hub import Measured, add_results

WAYS = {"t2i": "text to image", "i2t": "image to text"}


def credit(folders: Sequence[str], results: Mapping[str, Sequence[EvalResult]], data: str) -> None:
    """Add to each model's card its figures.

    Args:
        folders: model folders, one per seed. results: by protocol, likewise one per seed. data: name of the test set.

    Raises:
        DataError: the disk refuses.
    """
    for number, folder in enumerate(folders):
        measured = (Measured(protocol=name, data=data, metrics=_metrics(of[number])) for name, of in results.items())
        add_results(Path(folder) / "README.md", measured)


def _metrics(result: EvalResult) -> dict[str, float]:
    directions = {words: getattr(result, way) for way, words in WAYS.items()}
    return {f"{name}, {words}": value for words, found in directions.items() for name, value in found.items()}
