"""Near-duplicates and recall, against comparing every pair in a loop."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.search.conftest import rows

from fastgoal.search import neighbours
from fastgoal.search.neighbours import ann_recall, near_duplicates
from fastgoal.search.tables import IMAGES, Tables, fixed_lists, images_schema, vectors_of

D = 16
CPU = torch.device("cpu")


def table(folder, vector_ND, order=None):
    """A table of images that are nothing but vectors; keys are 100 and up."""
    count = len(vector_ND)
    order = np.arange(count) if order is None else order
    columns = {
        "id": [f"{row:04d}" for row in order],
        "image": [f"{row}.png" for row in order],
        "width": [4] * count,
        "height": [4] * count,
        "caption": [None] * count,
        "bytes": [9] * count,
        "key": [100 + int(row) for row in order],
        "state": [0] * count,
        "vector": fixed_lists(vector_ND[order]),
    }
    made = Tables(folder).make(IMAGES, images_schema(D))
    for start in range(0, count, 37):  # several files
        made.add(pa.table(columns, schema=images_schema(D)).slice(start, 37))
    return made


def unit(rows_ND):
    return (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def alike():
    """90 vectors, some of which are nearly those of others."""
    rng = np.random.default_rng(3)
    vector_ND = unit(rng.standard_normal((90, D)))
    for copy, of in ((80, 3), (81, 3), (5, 60), (44, 43)):
        vector_ND[copy] = unit((vector_ND[of] + 0.02 * rng.standard_normal(D))[None])[0]
    return vector_ND


def pairs_of(vector_ND, fresh, threshold):
    found = {}
    for a in range(len(vector_ND)):
        for b in range(a + 1, len(vector_ND)):
            cosine = float(vector_ND[a] @ vector_ND[b])
            if cosine >= threshold and (fresh is None or {100 + a, 100 + b} & set(fresh)):
                found[f"{a:04d}", f"{b:04d}"] = cosine
    return found


@pytest.mark.parametrize("fresh", [None, [180, 105, 144], [143], []])
@pytest.mark.parametrize(("threshold", "strip"), [(0.98, 4096), (0.5, 7)])
def test_every_pair_is_found_once(tmp_path, alike, fresh, threshold, strip, monkeypatch):
    monkeypatch.setattr(neighbours, "_STRIP", strip)
    monkeypatch.setattr(neighbours, "SHOWN", 1000)
    order = np.random.default_rng(1).permutation(len(alike))
    found = near_duplicates(table(tmp_path, alike, order), D, fresh, threshold, CPU)
    right = pairs_of(alike, fresh, threshold)
    assert (found.pairs, found.compared) == (len(right), len(alike) if fresh is None else len(fresh))
    assert {(twins.a, twins.b): pytest.approx(twins.cosine, abs=1e-5) for twins in found.first} == right
    cosines = [twins.cosine for twins in found.first]
    assert cosines == sorted(cosines, reverse=True)


def test_too_many_are_not_compared_and_it_says_so(tmp_path, alike, monkeypatch):
    monkeypatch.setitem(neighbours.MOST, "cpu", 100)
    images = table(tmp_path, alike)
    assert near_duplicates(images, D, None, 0.9, CPU).pairs is None
    assert near_duplicates(images, D, [103], 0.9, CPU).pairs == 2


def test_an_index_reports_copies(photos, indexed, tmp_path):
    (photos / "copy.png").write_bytes((photos / "01.png").read_bytes())
    first = indexed(photos, tmp_path / "index", duplicates=0.99999).duplicates
    assert (first.compared, first.pairs, first.first[0].a, first.first[0].b) == (13, 1, "01.png", "copy.png")
    assert first.first[0].cosine == pytest.approx(1)
    (photos / "again.png").write_bytes((photos / "03.png").read_bytes())
    later = indexed(photos, tmp_path / "index", duplicates=0.99999).duplicates
    assert (later.compared, later.pairs, later.first[0].a) == (1, 1, "03.png")  # what is new, with all
    assert indexed(photos, tmp_path / "index", duplicates=None).duplicates is None


def test_recall_is_the_share_of_true_neighbours(tmp_path, monkeypatch):
    vector_ND = unit(np.random.default_rng(0).standard_normal((600, D)))
    images = table(tmp_path, vector_ND)
    images.build_ann(D)
    assert images.indexed
    monkeypatch.setattr(neighbours, "PROBES", 1)
    asked = np.linspace(0, 599, 50).astype(int)
    sim_QN = vector_ND[asked] @ vector_ND.T
    sim_QN[np.arange(50), asked] = -1
    true_QK = np.argsort(-sim_QN, axis=1)[:, :10]
    hits = 0
    for row, true_K in zip(asked, true_QK, strict=True):
        near = images.nearest(vector_ND[row], 11, ["key", "_distance"], probes=1, refine=25)
        hits += len(set(near.column("key").to_pylist()) & {100 + int(k) for k in true_K})
    found = ann_recall(images, D, sample=50)
    assert found.recall == pytest.approx(hits / 500)
    assert 0.1 < found.recall < 1
    monkeypatch.setattr(neighbours, "PROBES", 1000)
    assert ann_recall(images, D, sample=50).recall == 1


def test_the_approximate_index_is_used_and_kept_up_to_date(photos, indexed, encoder, tmp_path):
    from fastgoal.search.searcher import Searcher

    report = indexed(photos, tmp_path / "index", ann=True)
    assert report.ann.recall == 1  # of twelve images
    (photos / "new.png").write_bytes((photos / "01.png").read_bytes())
    assert indexed(photos, tmp_path / "index").ann.recall == 1
    exact, near = (Searcher.open(tmp_path / "index", encoder, memory_mib=budget) for budget in (1024, 0))
    assert (exact.facts.exact, near.facts.exact) == (True, False)
    one, other = (searcher.text("A red ball.", top=5) for searcher in (exact, near))
    assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits]
    np.testing.assert_allclose([h.score for h in one.hits], [h.score for h in other.hits], atol=1e-6)
    vectors = vectors_of(Tables(tmp_path / "index").open(IMAGES).read(["vector"]), encoder.dim)
    assert len(vectors) == len(rows(tmp_path / "index")) == 13
