"""The hub's metadata format: the YAML at the head of a card, and what a card that is there already says.

Source: huggingface.co/docs/hub/model-cards and /datasets-cards.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from fastgoal.files import write_file
from fastgoal.models.folder import BUNDLED, HUB_ID

UNKNOWN = "unknown"
"""The hub's word for a licence that nobody has named."""
INHERITED = ("license", "license_name", "license_link", "base_model", "language", "datasets")
"""What a model that was made from another one says as that one does."""
TASK = "image-text-retrieval"
_HEAD = re.compile(r"\A---[ \t]*\r?\n(.*?)\n---[ \t\r]*(\n|\Z)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of one protocol on one data set. metrics: name (such as `R@1, text to image`) -> value in percent."""

    protocol: str
    data: str
    metrics: Mapping[str, float]

    def to_result(self) -> dict[str, Any]:
        """As `model-index` holds it."""
        return {
            "task": {"type": TASK, "name": self.protocol},
            "dataset": {"type": _identifier(self.data), "name": self.data},
            "metrics": [
                {"type": _metric(name), "value": round(value, 2), "name": name} for name, value in self.metrics.items()
            ],
        }


def model_index(name: str, measured: Iterable[Measured]) -> dict[str, Any]:
    """The metadata of a model's figures; nothing without any."""
    results = [one.to_result() for one in measured]
    return {"metrics": ["recall"], "model-index": [{"name": name, "results": results}]} if results else {}


def add_results(card: Path, measured: Iterable[Measured]) -> None:
    """Put figures into the metadata of a model card, in the place of earlier ones of the same protocol and data; what
    has no card is left alone.

    Raises:
        DataError: the disk refuses.
    """
    said = read_metadata(card)
    if not said:
        return
    text, new = card.read_text(encoding="utf-8"), [one.to_result() for one in measured]
    (old, *others) = said.get("model-index") or [{"name": _identifier(text.partition("\n# ")[2].partition("\n")[0])}]
    kept = [result for result in old.get("results", []) if _key(result) not in map(_key, new)]
    said = {"metrics": ["recall"], **said, "model-index": [{**old, "results": kept + new}, *others]}
    whole = front_matter(said) + _HEAD.sub("\n", text, count=1)
    if whole != text:
        write_file(card, whole)


def front_matter(metadata: Mapping[str, Any]) -> str:
    """Metadata as the head of a card; what is empty is left out."""
    said = {name: value for name, value in metadata.items() if value not in (None, "", [], {})}
    return f"---\n{yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=1000)}---"


def read_metadata(card: Path) -> dict[str, Any]:
    """The metadata of a card; empty where there is none, or none that can be read."""
    try:
        head = _HEAD.match(card.read_text(encoding="utf-8"))
        said = yaml.safe_load(head[1]) if head else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return said if isinstance(said, dict) else {}


def descent(model: str) -> dict[str, Any]:
    """What a model made from `model` inherits: licence, base, languages and data sets, as far as that one's card says.

    Args:
        model: a local folder, a hub id (which is then the base, and whose card is not fetched), or `tiny`.
    """
    if model == BUNDLED:
        said = read_metadata(Path(str(files("fastgoal") / "assets" / BUNDLED / "README.md")))
    elif model and Path(model).is_dir():
        said = read_metadata(Path(model) / "README.md")
    else:
        said = {"base_model": model} if HUB_ID.fullmatch(model) else {}
    return {"license": UNKNOWN, **{name: said[name] for name in INHERITED if name in said}}


def _identifier(name: str) -> str:
    """A name as the hub has them."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-") or UNKNOWN


def _metric(name: str) -> str:
    """What kind of figure it is, without its direction."""
    return name.partition(",")[0].replace("R@", "recall_at_").replace("mAP@", "map_at_")


def _key(result: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return result.get("task", {}).get("name"), result.get("dataset", {}).get("name")
