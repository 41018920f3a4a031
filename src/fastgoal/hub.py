"""The hub's metadata format: the YAML at the head of a card, and what a card that is there already says.

Source: huggingface.co/docs/hub/model-cards and /datasets-cards.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

UNKNOWN = "unknown"
"""The hub's word for a licence that nobody has named."""
INHERITED = ("license", "license_name", "license_link", "base_model", "language", "datasets")
"""What a model that was made from another one says as that one does."""
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_HEAD = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


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
    bundled = files("fastgoal") / "assets" / model / "README.md"
    card = Path(model) / "README.md" if Path(model).is_dir() else Path(str(bundled))
    said = read_metadata(card)
    own = {name: said[name] for name in INHERITED if name in said}
    if not Path(model).is_dir() and HUB_ID.fullmatch(model):
        own["base_model"] = model
    return {"license": UNKNOWN, **own}
