"""Published figures: what the papers report under a protocol, to stand beside one's own.

The figures lie in `published.yaml`, table by table as printed; here they become rows. A row compares with a result
only under the same protocol, and says most beside the same backbone: `backbone_of` tells which of the papers' two
backbones a model has, by its shape.

    published("docci-test")    the rows of that protocol in the order of the papers' tables
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from fastgoal.evaluation.results import EvalResult
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.retriever import Retriever


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """A row of a paper's table.

    paper, table: where it is printed. method: its name there. trained: data sets that it was fine-tuned on, in order;
        none: evaluated as released, with no fine-tuning on captions like these. backbone: None where the table does
        not say. t2i, i2t: metric -> percent, empty where the table has none.
    """

    paper: str
    table: str
    protocol: str
    method: str
    backbone: str | None
    trained: tuple[str, ...]
    t2i: Mapping[str, float]
    i2t: Mapping[str, float]

    @property
    def source(self) -> str:
        """As it is cited: `GOAL, table 1`."""
        return f"{self.paper}, table {self.table}"

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dump`."""
        return asdict(self) | {"trained": list(self.trained)}


def published(protocol: str) -> tuple[Published, ...]:
    """The rows of one protocol; none for one that no paper reports."""
    return tuple(row for row in all_published() if row.protocol == protocol)


@cache
def all_published() -> tuple[Published, ...]:
    """Every row of every table."""
    text = files("fastgoal.evaluation").joinpath("published.yaml").read_text(encoding="utf-8")
    return tuple(row for table in yaml.safe_load(text) for row in _rows(table))


def _rows(table: Mapping[str, Any]) -> Iterator[Published]:
    names = [f"{table['metric']}{k}" for k in table["ks"]]
    for record in table["rows"]:
        own = {**table, **record}
        yield Published(
            paper=own["paper"],
            table=str(own["table"]),
            protocol=own["protocol"],
            method=own["method"],
            backbone=own["backbone"],
            trained=tuple(own["trained"]),
            **{way: dict(zip(names, own[way], strict=True)) if way in own else {} for way in ("t2i", "i2t")},
        )


def backbone_of(encoder: Retriever) -> str | None:
    """`ViT-B/16` or `ViT-L/14` for a CLIP of that shape, else None; other families' models of that name are others."""
    if not isinstance(encoder, DualEncoder) or encoder.family.MODEL_TYPE != "clip":
        return None
    vision = encoder.model.config.vision_config
    shape = vision.num_hidden_layers, vision.hidden_size, vision.patch_size
    return {(12, 768, 16): "ViT-B/16", (24, 1024, 14): "ViT-L/14"}.get(shape)


def published_table(result: EvalResult, backbone: str | None) -> str:
    """The first metric of one's own and of every published row, both ways, as a table for the terminal.

    `=` marks rows of the same backbone. A part of the test set is easier than the whole, so then the table says that
    nothing compares. Empty where nothing is published.
    """
    rows = published(result.protocol)
    if not rows:
        return ""
    name = next(iter(result.t2i))
    own = _cells(result.t2i, result.i2t, name)
    heads = ["", "method", "backbone", "trained on", f"t2i {name}", f"i2t {name}", "tables"]
    cells = [heads, ["", "this model", backbone or "", "", *own, ""]]
    for row, tables in _quoted_once(rows).items():
        mark = "=" if backbone is not None and row.backbone == backbone and not result.partial else ""
        trained = " then ".join(row.trained) or "-"
        figures = _cells(row.t2i, row.i2t, name)
        source = "; ".join(f"{paper} {', '.join(own)}" for paper, own in tables.items())
        cells.append([mark, row.method, row.backbone or "-", trained, *figures, source])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([_heading(result, backbone), *(f"  {line}" for line in lines)])


def _heading(result: EvalResult, backbone: str | None) -> str:
    if result.partial:
        note = "not comparable: this is a part of the test set"
    else:
        note = f"= is {backbone}, as this model" if backbone else "no backbone is this model's"
    return f"published under {result.protocol} ({note}):"


def _cells(t2i: Mapping[str, float], i2t: Mapping[str, float], name: str) -> list[str]:
    return [f"{way[name]:.2f}" if name in way else "-" for way in (t2i, i2t)]


def _quoted_once(rows: Sequence[Published]) -> dict[Published, dict[str, list[str]]]:
    """Rows that several tables quote with the same first figures, once: row -> paper -> its tables."""
    first: dict[tuple[Any, ...], Published] = {}
    tables: dict[Published, dict[str, list[str]]] = {}
    for row in rows:
        figures = [next(iter(way.values()), None) for way in (row.t2i, row.i2t)]
        same = first.setdefault((row.method, row.backbone, row.trained, *figures), row)
        tables.setdefault(same, {}).setdefault(row.paper, []).append(row.table)
    return tables
