"""Joint retrieval against embeddings one by one, ir-measures, and what the test set must and must not be."""

from dataclasses import replace

import ir_measures
import numpy as np
import pytest
from ir_measures import AP

from fastgoal.data.images import read_image
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError
from fastgoal.evaluation.joint import JointSet, evaluate_joint
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.pairs import Origin, PairsRow, PairsTable, PairsWriter


def test_map_equals_ir_measures_on_hand_cut_crops(encoder, table):
    images, texts = {}, {}
    for row in table:
        picture = read_image(table.root / row.image)
        images[f"{row.image} whole"], texts[f"{row.image} {row.id}"] = picture, row.caption
        if row.pairs:
            start, end = row.sentences[1]
            images[f"{row.image} crop"] = picture.crop(tuple(int(v) for v in row.regions[0].box))
            texts[f"{row.image} {row.id} sentence"] = row.caption[start:end]
    image_ND = embed_images(encoder, images.values())
    text_QD, _ = embed_texts(encoder, list(texts.values()))
    result = evaluate_joint(encoder, table)
    for way, queries, items, sim in (
        ("t2i", texts, images, text_QD @ image_ND.T),
        ("i2t", images, texts, image_ND @ text_QD.T),
    ):
        run = {q: {i: float(sim[a, b]) for b, i in enumerate(items)} for a, q in enumerate(queries)}
        truth = {q: {i: int(i.split()[0] == q.split()[0]) for i in items} for q in queries}
        assert getattr(result, way)["mAP@10"] == pytest.approx(
            100 * ir_measures.calc_aggregate([AP @ 10], truth, run)[AP @ 10]
        )
        assert len(result.queries[way].id_Q) == len(queries) == len(set(result.queries[way].id_Q))


def test_a_sample_without_a_pair_keeps_only_its_whole(encoder, table):
    asked = JointSet.of(table)
    assert [box for image, box in asked.gallery if image == "5.png"] == [None]
    assert [text.id for text in asked.texts if text.image == "5.png"] == ["s5"]
    result = evaluate_joint(encoder, table, protocol=replace(PROTOCOLS["joint"], ks=(1, 100)))
    index = result.queries["t2i"].id_Q.tolist().index("s5")
    rank = result.queries["t2i"].rank_Q[index]
    assert result.queries["t2i"].values["mAP@100"][index] == pytest.approx(1 / rank)  # one right answer
    assert result.counts == {"images": 6, "crops": 5, "captions": 8, "sentences": 5, "skipped": 0}
    assert result.items == 6


def test_the_fingerprint_changes_with_what_is_asked_and_only_then(encoder, table, tmp_path):
    def rewritten(name, change):
        with PairsWriter(tmp_path / name, root=table.root, origin=Origin(matcher=name)) as writer:
            for row in table:
                writer.add(change(row))
        return JointSet.of(PairsTable.open(tmp_path / name)).fingerprint

    own = JointSet.of(table).fingerprint
    assert evaluate_joint(encoder, table).pairs == {"fingerprint": own, "matcher": "pinned", "detector": "fixed"}
    assert rewritten("same", lambda row: row) == own
    unread = rewritten(
        "similarity", lambda row: replace(row, pairs=tuple(replace(p, similarity=0.9) for p in row.pairs))
    )
    assert unread == own
    assert (
        rewritten("sentence", lambda row: replace(row, pairs=tuple(replace(p, sentence=0) for p in row.pairs))) != own
    )
    moved = (1.0, 1.0, 9.0, 9.0)
    assert rewritten("box", lambda row: replace(row, regions=tuple(replace(r, box=moved) for r in row.regions))) != own


def test_the_evaluated_model_may_not_choose_its_own_test_set(encoder, table, tmp_path):
    with PairsWriter(tmp_path / "own", root=table.root, origin=Origin(matcher=encoder.fingerprint)) as writer:
        for row in table:
            writer.add(row)
    own = PairsTable.open(tmp_path / "own")
    with pytest.raises(ConfigError, match="chosen by the evaluated model"):
        evaluate_joint(encoder, own)
    assert evaluate_joint(encoder, own, allow_own_matcher=True).t2i == evaluate_joint(encoder, table).t2i


def test_unusable_rows_are_left_out_and_counted(encoder, table, tmp_path):
    with PairsWriter(tmp_path / "skips", root=table.root, origin=Origin()) as writer:
        for row in table:
            writer.add(row)
        writer.add(PairsRow(id="bad", image="bad.png", width=0, height=0, caption="x", skip="not an image"))
    result = evaluate_joint(encoder, PairsTable.open(tmp_path / "skips"))
    assert (result.items, result.counts["skipped"]) == (6, 1)


def test_kept_views_do_not_matter(encoder, table):
    views = JointSet.of(table).views(table, encoder.fit)
    with_views = evaluate_joint(encoder, table, views=views, batch=2)
    assert np.array_equal(with_views.queries["i2t"].rank_Q, evaluate_joint(encoder, table).queries["i2t"].rank_Q)
