"""Searching, against the obvious way: all products, sorted."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from tests.conftest import save_small_clip
from tests.search.conftest import paint, rows

from fastgoal.captioning.pictures import open_pictures
from fastgoal.data.images import read_image
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError, DataError, ModelError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.search.build import index
from fastgoal.search.searcher import NotInIndexError, Searcher
from fastgoal.search.tables import REGIONS

QUERY = "A red ball lies on the left. A lamp stands behind it."


@pytest.fixture
def uri(photos, indexed, tmp_path):
    """Twelve images and a copy of one of them."""
    shutil.copy(photos / "01.png", photos / "00-copy.png")
    indexed(photos, tmp_path / "index", regions="fixed")
    return tmp_path / "index"


@pytest.fixture(params=["memory", "table"])
def searcher(uri, encoder, request):
    return Searcher.open(uri, encoder, memory_mib=1024 if request.param == "memory" else 0)


def expected(uri, vector_D, keep=lambda row: True):
    """Ids and scores by numpy, ties by id."""
    found = {name: row for (name,), row in rows(uri).items() if keep(row)}
    score = {name: float(np.dot(row["vector"], vector_D)) for name, row in found.items()}
    return sorted(score.items(), key=lambda item: (-round(item[1], 6), item[0]))


def same(hits, right):
    assert [hit.id for hit in hits] == [name for name, _ in right]
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in right], atol=1e-6)


def test_text_is_ranked_by_the_product_of_the_shared_embedder(searcher, uri, encoder):
    right = expected(uri, embed_texts(encoder, [QUERY])[0][0])
    found = searcher.text(QUERY, top=5)
    same(found.hits, right[:5])
    assert (found.matching, found.query, found.passages, found.exact) == (13, QUERY, (), True)
    same(searcher.text(QUERY, top=4, skip=3).hits, right[3:7])
    same(searcher.text(QUERY, top=100).hits, right)
    assert searcher.text(QUERY, top=0).hits == ()
    hit = found.hits[0]
    assert (hit.image, hit.width) == (rows(uri)[hit.id,]["image"], rows(uri)[hit.id,]["width"])


def test_equal_images_come_in_the_order_of_their_ids(searcher, uri):
    ids = [hit.id for hit in searcher.text(QUERY, top=13).hits]
    assert ids.index("01.png") == ids.index("00-copy.png") + 1


@pytest.mark.parametrize(
    ("where", "keep"),
    [
        ("width > 40", lambda row: row["width"] > 40),
        ("caption LIKE '%red%' OR id = '03.png'", lambda row: "red" in (row["caption"] or "") or row["id"] == "03.png"),
        ("caption IS NULL AND bytes > 0", lambda row: row["caption"] is None),
        ("caption LIKE '%It''s%'", lambda row: "It's" in (row["caption"] or "")),
        ("width < 0", lambda row: False),
    ],
)
def test_a_filter_admits_what_a_list_comprehension_does(searcher, uri, encoder, where, keep):
    right = expected(uri, embed_texts(encoder, [QUERY])[0][0], keep)
    found = searcher.text(QUERY, top=20, where=where)
    same(found.hits, right)
    assert found.matching == len(right)


@pytest.mark.parametrize("where", ["widht > 3", "width >", "width", "1", ""])
def test_what_is_no_condition_is_shown_with_the_columns(searcher, where):
    with pytest.raises(ConfigError, match=r"no condition: .*over id, image, width, height, caption, bytes"):
        searcher.text(QUERY, where=where)


def test_a_picture_finds_itself_and_like_leaves_it_out(searcher, uri, encoder, photos):
    picture = read_image(photos / "03.png")
    vector_D = embed_images(encoder, [picture])[0]
    same(searcher.image(picture, top=4).hits, expected(uri, vector_D)[:4])
    assert searcher.image(picture, top=1).hits[0].id == "03.png"
    found = searcher.like("03.png", top=12, where="width > 0")
    same(found.hits, [item for item in expected(uri, rows(uri)["03.png",]["vector"]) if item[0] != "03.png"])
    assert (found.matching, found.query) == (12, None)


def test_sentences_are_met_by_their_best_regions(searcher, uri, encoder):
    found = searcher.text(QUERY, top=13, sentences=True)
    sentences = ["A red ball lies on the left.", "A lamp stands behind it."]
    vector_SD = embed_texts(encoder, sentences)[0]
    regions = rows(uri, REGIONS)
    for hit in found.hits:
        assert [QUERY[slice(*met.span)] for met in hit.sentences] == sentences
        for met, vector_D in zip(hit.sentences, vector_SD, strict=True):
            own = {key[1:]: float(np.dot(row["vector"], vector_D)) for key, row in regions.items() if key[0] == hit.id}
            assert met.score == pytest.approx(max(own.values()), abs=1e-6)
            assert own[met.box] == pytest.approx(met.score, abs=1e-6)


def test_without_regions_a_sentence_is_met_by_the_whole(photos, indexed, encoder, tmp_path):
    indexed(photos, tmp_path / "plain")
    found = Searcher.open(tmp_path / "plain", encoder).text(QUERY, top=3, sentences=True)
    vector_SD = embed_texts(encoder, [QUERY[:28], QUERY[29:]])[0]
    for hit in found.hits:
        assert [met.box for met in hit.sentences] == [None, None]
        own_S = vector_SD @ np.array(rows(tmp_path / "plain")[hit.id,]["vector"])
        np.testing.assert_allclose([met.score for met in hit.sentences], own_S, atol=1e-6)


def test_images_are_known_by_their_ids_alone(searcher, photos):
    record = searcher.record("below/02.png")
    assert (record.id, record.image, record.caption[:5]) == ("below/02.png", "below/02.png", "A blu")
    assert searcher.record("01.png").caption is None
    assert searcher.picture("below/02.png").tobytes() == read_image(photos / "below/02.png").tobytes()
    for name in ("../photos/01.png", "01.PNG", "", "x' OR id = '01.png", str(photos / "01.png")):
        for ask in (searcher.record, searcher.picture, searcher.like):
            with pytest.raises(NotInIndexError, match="no image has the id"):
                ask(name)
    (photos / "01.png").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        searcher.picture("01.png")


def test_pictures_are_upright(photos, indexed, encoder, tmp_path):
    turned = Image.open(photos / "00.png")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.crop((0, 0, 30, 20)).save(photos / "turned.jpg", exif=exif)
    indexed(photos, tmp_path / "index")
    searcher = Searcher.open(tmp_path / "index", encoder)
    assert searcher.picture("turned.jpg").size == (20, 30)
    assert (searcher.record("turned.jpg").width, searcher.record("turned.jpg").height) == (20, 30)


def test_images_that_moved_are_found_by_a_root(uri, encoder, photos, tmp_path):
    photos.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="cannot be read"):
        Searcher.open(uri, encoder).picture("01.png")
    assert Searcher.open(uri, encoder, root=tmp_path / "moved").picture("01.png").size == (44, 40)


def test_the_model_is_loaded_by_its_name_or_has_to_be_the_same(uri, small_clip_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the index names its model as seen from itself
    searcher = Searcher.open(uri)
    assert (searcher.facts.model, searcher.facts.images, searcher.facts.regions) == ("small-clip", 13, 65)
    assert searcher.encoder.fingerprint == searcher.facts.fingerprint
    other = DualEncoder.load(save_small_clip(tmp_path / "other", seed=5))
    with pytest.raises(ModelError, match=r"made by small-clip .*Search with .*small-clip \(without --model\)"):
        Searcher.open(uri, other)


def test_what_is_no_index_names_the_mend(uri, encoder, tmp_path):
    with pytest.raises(DataError, match=r"no index here.*fastgoal index MODEL IMAGES --uri URI"):
        Searcher.open(tmp_path / "nothing", encoder)
    for file in (uri / "images.lance/_versions").iterdir():
        file.write_bytes(b"x" * 50)
    with pytest.raises(DataError, match=r"the table of images is missing or broken.*--overwrite"):
        Searcher.open(uri, encoder)
    shutil.rmtree(uri / "images.lance")
    with pytest.raises(DataError, match=r"the table of images is missing or broken"):
        Searcher.open(uri, encoder)
    (uri / "index.json").write_text('{"schema": 1}')
    with pytest.raises(DataError, match=r"not the manifest of an index.*--overwrite"):
        Searcher.open(uri, encoder)
    (uri / "index.json").write_text('{"schema": 99}')
    with pytest.raises(DataError, match="schema version 99"):
        Searcher.open(uri, encoder)


def test_an_open_searcher_stays_as_it_was_while_the_index_changes(uri, searcher, photos, indexed):
    before = searcher.text(QUERY, top=20, where="width > 0")
    assert not searcher.outdated
    paint(photos / "later.png", 50)
    (photos / "03.png").unlink()
    indexed(photos, uri, regions="fixed")
    after = searcher.text(QUERY, top=20, where="width > 0")
    assert [hit.id for hit in after.hits] == [hit.id for hit in before.hits]
    assert searcher.outdated
    assert not Searcher.open(uri, searcher.encoder).outdated


def test_several_threads_may_ask_at_once(searcher):
    queries = [f"A {word} ball." for word in ("red", "green", "blue", "white")] * 6
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda query: searcher.text(query, top=3, where="width > 5", sentences=True), queries))
    for query, found in zip(queries, together, strict=True):
        alone = searcher.text(query, top=3, where="width > 5", sentences=True)
        assert [hit.to_json() for hit in found.hits] == [hit.to_json() for hit in alone.hits]


@pytest.mark.parametrize("budget", [0, 1024])
def test_an_index_without_images_finds_nothing(photos, encoder, tmp_path, budget):
    def interrupted(batches, embedder, bar):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(open_pictures(photos), encoder, tmp_path / "index", progress=False, engine=interrupted)
    searcher = Searcher.open(tmp_path / "index", encoder, memory_mib=budget)
    found = searcher.text(QUERY, where="width > 1", sentences=True)
    assert (found.hits, found.matching, searcher.facts.images, searcher.facts.complete) == ((), 0, 0, False)


@pytest.mark.parametrize("numbers", [{"top": -1}, {"skip": -2}])
def test_numbers_below_zero_are_refused(searcher, numbers):
    with pytest.raises(ConfigError, match="too small"):
        searcher.text(QUERY, **numbers)
