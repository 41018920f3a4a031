"""Several models on the same samples: where maps point is what the localisation protocol measures."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.explain.conftest import SIZES, picture

from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError
from fastgoal.evaluation.localisation import evaluate_localisation
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.explain.compare import KEPT, explained, pointing, to_json
from fastgoal.explain.subjects import Subject, subjects, worst

TOP = replace(PROTOCOLS["localisation"], name="small", ks=(1,))


def test_maps_point_where_the_protocol_says(every, encoder, other, source):
    rows = pointing(every)
    assert [row.model for row in rows] == [other.name, encoder.name]
    for row, model in zip(rows, (other, encoder), strict=True):
        result = evaluate_localisation(model, source, protocol=TOP)
        assert row.sentences == result.items == 8
        assert 100 * row.hits / row.sentences == pytest.approx(result.t2i["top-1"])
        assert 100 * row.chance / row.sentences == pytest.approx(result.chance["top-1"])
    assert 0 < sum(row.hits for row in rows) < 16


def test_numbers_are_plain_json(every):
    record = json.loads(json.dumps(to_json(every)))
    first = record["subjects"][0]["models"][1]["sentences"][0]
    sentence = every[0].explanations[1].sentences[0]
    assert first["score"] == pytest.approx(sentence.score)
    assert first["patch_score"] == pytest.approx(float(sentence.heat_GG.max()))
    x1, y1, x2, y2 = first["patch"]
    row, column = divmod(int(sentence.heat_GG.argmax()), 4)
    view = every[0].explanations[1].view
    assert (x1 - view[0]) / (x2 - x1) == pytest.approx(column)
    assert (y1 - view[1]) / (y2 - y1) == pytest.approx(row)
    assert [row["sentences"] for row in record["localisation"]] == [8, 8]


def test_a_model_without_maps_is_not_judged(siglip, source):
    found = list(explained([siglip], subjects(source, limit=1), words=False))
    assert found[0].judged == ((None, None),)
    assert pointing(found) == []
    assert to_json(found)["subjects"][0]["models"][0]["sentences"][0]["patch"] is None


def test_large_images_are_kept_small(encoder):
    one = next(explained([encoder], [Subject(id="a", image=picture(3000, 1500), caption="A ball.")], words=False))
    assert one.subject.image.size == (KEPT, KEPT // 2)
    assert (one.explanations[0].width, one.explanations[0].height) == (3000, 1500)


def test_samples_are_chosen_by_id_or_number(source):
    assert [one.id for one in subjects(source, ["s2", "s0"])] == ["s0", "s2"]
    assert [one.id for one in subjects(source, limit=3)] == ["s0", "s1", "s2"]
    one = next(iter(subjects(source, ["s1"])))
    assert len(one.truth) == 3
    assert len(one.boxes((0, 5))) == 2
    with pytest.raises(ConfigError, match=r"no sample is called 'x'\. Ids here are like s0, s1, s2"):
        subjects(source, ["s0", "x"])


def test_the_worst_are_those_a_slow_loop_ranks_last(encoder, other, source):
    samples, images = list(source), [picture(*size, number) for number, size in enumerate(SIZES)]
    sims = []
    for model in (other, encoder):
        sims.append(embed_texts(model, [sample.caption for sample in samples])[0] @ embed_images(model, images).T)
    ranks = [[1 + sum(sim[q] >= sim[q, q]) - 1 for q in range(4)] for sim in sims]
    expected = [q for q in sorted(range(4), key=lambda q: -ranks[1][q]) if ranks[1][q] > 1]
    found = worst([other, encoder], source, 2)
    assert expected
    assert [one.id for one in found] == [f"s{q}" for q in expected[:2]]
    for one, q in zip(found, expected, strict=False):
        assert one.instead.ranks == (ranks[0][q], ranks[1][q])
        assert one.instead.gallery == 4
        best = int(np.argmax(np.where(np.arange(4) == q, -2, sims[1][q])))
        assert one.instead.name == f"{best}.png"
        assert one.instead.image.size == images[best].size
    told = next(explained([other, encoder], found[:1], words=False))
    assert len(told.instead_scores) == 2
