"""The published figures are consistent with themselves: what two tables quote agrees, and percentages of N items are
multiples of 1/N, which also tells N."""

from collections import defaultdict
from copy import deepcopy
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.published import all_published, backbone_of, published, published_table
from fastgoal.evaluation.retrieval import evaluate_retrieval

QUERIES = {name: (own.items * own.captions, own.items) for name, own in PROTOCOLS.items() if own.captions}
"""Protocol -> text queries, image queries."""
TRUNCATED = {("GOAL, table 6", "Long-CLIP", "ViT-L/14", "t2i", "R@25", 99.19)}
"""Of 5,100, 99.196 %: printed cut off instead of rounded."""


def figures(row, way):
    return getattr(row, way).items()


def is_share(percent, of):
    """Whether a percentage printed with two decimals is a whole number of `of` items."""
    return abs(100 * round(percent * of / 100) / of - percent) <= 0.005 + 1e-9


def test_every_table_is_there():
    tables = defaultdict(set)
    for row in all_published():
        tables[row.paper].update(row.table.split(", "))
    assert tables["GOAL"] == set("1234567")
    assert tables["FAST-GOAL"] == {"III", "IV", "V", "VI", "VII", "VIII", "XI", "XII", "XIII", "XIV", "XV", "XVI"}
    assert sum(row.paper == "GOAL" for row in all_published()) == 8 * 5 + 6 * 2


def test_tables_that_quote_a_row_agree():
    same = defaultdict(list)
    for row in all_published():
        if row.trained != ("not stated",):
            same[row.method, row.backbone, row.trained, row.protocol].append(row)
    compared = 0
    for rows in same.values():
        for a, b in combinations(rows, 2):
            for way in ("t2i", "i2t"):
                for name in getattr(a, way).keys() & getattr(b, way).keys():
                    assert getattr(a, way)[name] == getattr(b, way)[name], (a, b)
                    compared += 1
    # GOAL 1 = 6 and 2 = 5; FAST-GOAL III = GOAL 6; III = VII = VIII on four sets; XI = GOAL 6
    assert compared == 16 + 16 + 16 + 24 + 4


def test_percentages_are_shares_of_the_protocols_items():
    odd = {
        (row.source, row.method, row.backbone, way, name, value)
        for row in all_published()
        for way, of in zip(("t2i", "i2t"), QUERIES.get(row.protocol, ()), strict=False)
        for name, value in figures(row, way)
        if not is_share(value, of)
    }
    assert odd == TRUNCATED


def test_dci_has_1999_items_and_not_2000():
    values = [value for row in published("dci-test") for way in ("t2i", "i2t") for _, value in figures(row, way)]
    fitting = {of: sum(is_share(value, of) for value in values) for of in range(1990, 2006)}
    assert fitting[1999] == len(values) == 136
    assert max(count for of, count in fitting.items() if of != 1999) < 0.75 * len(values)
    assert fitting[2000] < 0.6 * len(values)


def test_recalls_rise_with_k():
    for row in all_published():
        for way in ("t2i", "i2t"):
            values = [value for _, value in figures(row, way)]
            assert values == sorted(values)
            assert all(0 < value <= 100 for value in values)


def test_some_cells_as_printed():
    rows = {(row.source, row.method, row.backbone, row.trained): row for row in published("docci-test")}
    assert rows["GOAL, table 1", "GOAL", "ViT-L/14", ("docci",)].i2t == {
        "R@1": 82.57, "R@5": 97.37, "R@25": 99.82, "R@50": 99.98,
    }  # fmt: skip
    assert rows["FAST-GOAL, table V", "FAST-GOAL, batch 64", "ViT-B/16", ("glit100k", "docci")].t2i["R@1"] == 84.16
    assert {row.method: row.t2i for row in published("dci-joint") if row.backbone == "ViT-B/16"}["w/o TSL"] == {
        "mAP@10": 56.68
    }
    assert all(not row.t2i and row.i2t for row in published("urban1k"))


def test_the_metrics_are_those_of_the_protocol():
    for row in all_published():
        if row.protocol in PROTOCOLS:
            own = PROTOCOLS[row.protocol]
            kind = {"joint": "mAP", "localisation": "top"}.get(own.task, "R")
            assert set(row.t2i) | set(row.i2t) <= {f"{kind}{'-' if kind == 'top' else '@'}{k}" for k in own.ks}, row
    assert {row.protocol for row in all_published()} <= set(PROTOCOLS)


@pytest.mark.parametrize(
    ("layers", "width", "patch", "name"),
    [(12, 768, 16, "ViT-B/16"), (24, 1024, 14, "ViT-L/14"), (12, 768, 32, None), (2, 32, 8, None)],
)
def test_a_backbone_is_known_by_its_shape(encoder, layers, width, patch, name):
    encoder = deepcopy(encoder)
    with torch.device("meta"):  # shapes without weights
        vision = {"num_hidden_layers": layers, "hidden_size": width, "patch_size": patch, "num_attention_heads": 2}
        encoder.model = CLIPModel(CLIPConfig(vision_config=vision, text_config={"num_hidden_layers": 1}))
    assert backbone_of(encoder) == name


@pytest.fixture(scope="module")
def result(encoder, source):
    small = replace(PROTOCOLS["long-retrieval"], name="docci-test", items=5100, partial=True)
    return evaluate_retrieval(encoder, source, protocol=small)


def test_a_part_of_a_test_set_says_so(result):
    assert (result.items, result.expected, result.partial) == (6, 5100, True)
    table = published_table(result, "ViT-B/16")
    assert "not comparable: this is a part of the test set" in table
    assert "=" not in table
    assert type(result).from_json(result.to_json() | {"published": []}) == result


def test_the_table_marks_the_same_backbone_and_quotes_a_row_once(result):
    lines = published_table(replace(result, partial=False, items=5100), "ViT-B/16").splitlines()
    assert lines[0] == "published under docci-test (= is ViT-B/16, as this model):"
    assert lines[2].split()[:2] == ["this", "model"]
    marked = [line for line in lines[3:] if line.strip().startswith("=")]
    assert len(marked) == len([line for line in lines[3:] if "ViT-B/16" in line])
    (long_clip,) = [line for line in marked if "Long-CLIP" in line]
    assert long_clip.split()[-7:] == ["sharegpt4v", "71.63", "63.29", "GOAL", "6;", "FAST-GOAL", "III"]
    assert "no backbone is this model's" in published_table(replace(result, partial=False), None)
    assert published_table(replace(result, protocol="long-retrieval"), None) == ""
