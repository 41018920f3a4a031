"""What the API answers is what the searcher, the data and the explanation say."""

import io

import numpy as np
import pytest
from PIL import Image, ImageChops
from tests.search.service.conftest import IMAGES

from fastgoal.data.images import read_image
from fastgoal.data.sentences import split_sentences
from fastgoal.embed import embed_images, embed_texts
from fastgoal.explain import explain

QUERY = "A red ball lies on the left. A blue box stands behind it."


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


def ask(client, **question):
    answer = client.post("/api/search", json={"text": QUERY, **question})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_text_finds_what_comparing_every_image_finds(client, encoder, searcher, records):
    pictures = [searcher.picture(record.id) for record in records]
    score_N = embed_images(encoder, pictures) @ embed_texts(encoder, [QUERY])[0][0]
    expected = [records[i].id for i in np.argsort(-score_N)]
    answer = ask(client, top=IMAGES)
    assert ids(answer) == expected
    assert [hit["score"] for hit in answer["hits"]] == pytest.approx(sorted(score_N, reverse=True), abs=1e-5)
    assert answer["matching"] == IMAGES
    assert answer["query"] == QUERY


def test_sentences_are_met_in_regions_and_left_out_if_not_asked_for(client):
    hit = ask(client, top=1)["hits"][0]
    assert [met["span"] for met in hit["sentences"]] == [list(span) for span in split_sentences(QUERY)]
    for met in hit["sentences"]:
        x1, y1, x2, y2 = met["box"]
        assert 0 <= x1 < x2 <= hit["width"] and 0 <= y1 < y2 <= hit["height"]
    assert ask(client, top=1, sentences=False)["hits"][0]["sentences"] == []


def test_pages_are_parts_of_one_list(client):
    whole = ids(ask(client, top=IMAGES))
    parts = [ids(ask(client, top=8, skip=skip)) for skip in range(0, IMAGES, 8)]
    assert [id for part in parts for id in part] == whole
    assert ask(client, skip=IMAGES)["hits"] == []


def test_filters_admit_what_a_loop_over_the_records_admits(client, records):
    piece = records[3].caption.split()[2].upper()
    for filters, admits in (
        ({"caption_contains": piece}, lambda r: piece.lower() in r.caption.lower()),
        ({"id_contains": "1"}, lambda r: "1" in r.id),
        ({"min_width": 1, "max_width": records[0].width}, lambda r: 1 <= r.width <= records[0].width),
        ({"min_height": records[0].height + 1}, lambda r: r.height > records[0].height),
        ({"id_contains": "%"}, lambda r: "%" in r.id),
    ):
        expected = {record.id for record in records if admits(record)}
        answer = ask(client, top=IMAGES, filters=filters)
        assert set(ids(answer)) == expected
        assert answer["matching"] == len(expected)
        like = client.get("/api/like", params={"id": records[0].id, "top": IMAGES, **filters}).json()
        assert set(ids(like)) == expected - {records[0].id}


def test_an_image_of_the_index_finds_itself(client, searcher, records):
    out = io.BytesIO()
    searcher.picture(records[5].id).save(out, "PNG")
    answer = client.post("/api/search/image?top=3", files={"picture": ("a.png", out.getvalue())}).json()
    assert answer["hits"][0]["id"] == records[5].id
    assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-4)
    assert answer["query"] is None
    alike = client.get("/api/like", params={"id": records[5].id, "top": 2}).json()
    assert ids(alike) == ids(answer)[1:]


def test_images_are_upright_jpegs_that_a_browser_keeps(client, scenes, searcher, records):
    record = records[2]
    full = client.get("/api/image", params={"id": record.id, "size": "full"})
    assert full.headers["content-type"] == "image/jpeg"
    shown = Image.open(io.BytesIO(full.content))
    assert shown.size == (record.width, record.height)
    own = read_image(scenes / record.image)
    assert np.mean(np.asarray(ImageChops.difference(shown.convert("RGB"), own))) < 4
    again = client.get(
        "/api/image", params={"id": record.id, "size": "full"}, headers={"If-None-Match": full.headers["etag"]}
    )
    assert again.status_code == 304
    assert not again.content
    thumb = Image.open(io.BytesIO(client.get("/api/image", params={"id": record.id, "size": "thumb"}).content))
    assert max(thumb.size) <= 384


def test_an_explanation_joins_the_heat_of_the_model_with_the_regions_of_the_index(client, encoder, searcher, records):
    record, hit = records[1], None
    answer = client.post("/api/explain", json={"id": record.id, "text": QUERY}).json()
    explanation = explain(encoder, searcher.picture(record.id), QUERY, regions=())
    hit = next(hit for hit in ask(client, top=IMAGES)["hits"] if hit["id"] == record.id)
    assert [(one["span"], one["box"]) for one in answer["sentences"]] == [
        (met["span"], met["box"]) for met in hit["sentences"]
    ]
    for one, met, expected in zip(answer["sentences"], hit["sentences"], explanation.sentences, strict=True):
        assert one["score"] == pytest.approx(met["score"], abs=1e-5)
        np.testing.assert_allclose(one["heat"], expected.heat_GG, atol=1e-4)
    assert answer["similarity"] == pytest.approx(explanation.similarity, abs=1e-5)
    assert answer["view"] == list(explanation.view)


def test_without_a_text_its_own_caption_is_explained(client, records):
    answer = client.post("/api/explain", json={"id": records[0].id}).json()
    assert answer["text"] == answer["caption"] == records[0].caption
    assert len(answer["sentences"]) == len(split_sentences(records[0].caption))


def test_spans_count_code_points(client):
    text = "🎈🎈 Ein roter Ball. 👩‍🚀 A blue box."
    hit = ask(client, text=text, top=1)["hits"][0]
    assert [text[slice(*met["span"])] for met in hit["sentences"]] == ["🎈🎈 Ein roter Ball.", "👩‍🚀 A blue box."]


@pytest.mark.parametrize("text", ["...", "?", "\u0000", "🎈", "a" * 8000, "A dog. " * 1100])
def test_odd_texts_are_texts(client, records, text):
    answer = ask(client, text=text, top=2)
    assert len(answer["hits"]) == 2
    explained = client.post("/api/explain", json={"id": records[0].id, "text": text})
    assert explained.status_code == 200
    assert len(explained.json()["sentences"]) == len(answer["hits"][0]["sentences"])


def test_facts_say_what_there_is_and_how_fast_it_was(client, records):
    for _ in range(3):
        ask(client)
    facts = client.get("/api/facts").json()
    assert (facts["name"], facts["images"], facts["regions"]) == ("scenes.index", IMAGES, 5 * IMAGES)
    assert facts["latency"]["text"]["count"] == 3
    assert 0 < facts["latency"]["text"]["p50"] <= facts["latency"]["text"]["p95"]
    assert {example["id"] for example in facts["examples"]} <= {record.id for record in records}
    assert all(example["caption"] for example in facts["examples"])


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"text": ""}, "text"),
        ({"text": "  \n "}, "the query is empty"),
        ({"text": "a" * 8001}, "8000"),
        ({"text": None}, "text"),
        ({"top": 0}, "top"),
        ({"top": 101}, "top"),
        ({"skip": -1}, "skip"),
        ({"skip": 10**30}, "skip"),
        ({"where": "1=1"}, "where"),
        ({"filters": {"width": 3}}, "filters.width"),
        ({"filters": {"min_width": "many"}}, "filters.min_width"),
        ({"filters": {"id_contains": ""}}, "filters.id_contains"),
    ],
)
def test_a_bad_question_is_told_so(client, question, says):
    answer = client.post("/api/search", json={"text": QUERY, **question})
    assert answer.status_code == 422
    assert says in answer.json()["error"]


@pytest.mark.parametrize("call", ["like", "image", "explain"])
def test_an_unknown_id_is_told_so(client, call):
    answers = {
        "like": lambda: client.get("/api/like?id=nobody"),
        "image": lambda: client.get("/api/image?id=nobody&size=full"),
        "explain": lambda: client.post("/api/explain", json={"id": "nobody", "text": QUERY}),
    }
    answer = answers[call]()
    assert answer.status_code == 404
    assert answer.json()["error"] == "no image has the id 'nobody'"


def test_an_image_that_is_gone_is_told_so_without_saying_where_it_lay(client, scenes, records):
    path = scenes / records[9].image
    path.rename(path.with_suffix(".away"))
    try:
        answer = client.get("/api/image", params={"id": records[9].id, "size": "full"})
    finally:
        path.with_suffix(".away").rename(path)
    assert answer.status_code == 404
    assert "cannot be read" in answer.json()["error"]
    assert str(scenes) not in answer.text
