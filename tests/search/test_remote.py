"""An index in object storage, behind a real S3 API."""

import numpy as np
import pytest
from tests.remote.conftest import s3, s3_server  # noqa: F401
from tests.search.conftest import paint, rows

from fastgoal.errors import DataError
from fastgoal.remote.place import Url
from fastgoal.search.searcher import Searcher
from fastgoal.search.tables import IMAGES, Tables

URI = Url("s3://bucket/photos.index")


def test_an_index_in_object_storage_is_one_on_this_machine(s3, photos, indexed, encoder, tmp_path):  # noqa: F811
    for uri in (URI, tmp_path / "index"):
        indexed(photos, uri, regions="fixed")
    paint(photos / "new.png", 99)
    (photos / "03.png").unlink()
    report = indexed(photos, URI, regions="fixed")
    assert (report.added, report.deleted, report.unchanged) == (1, 1, 11)
    indexed(photos, tmp_path / "index", regions="fixed")
    here, there = rows(tmp_path / "index"), rows(URI)
    assert sorted(here) == sorted(there)
    for name, row in here.items():
        np.testing.assert_array_equal(there[name]["vector"], row["vector"])
    searcher = Searcher.open(URI, encoder)
    one, other = (Searcher.open(uri, encoder).text("A red ball.", sentences=True) for uri in (URI, tmp_path / "index"))
    assert [hit.to_json() for hit in one.hits] == [hit.to_json() for hit in other.hits]
    with pytest.raises(DataError, match="does not say where its images lie"):  # they lie on another machine
        searcher.picture("01.png")
    assert Searcher.open(URI, encoder, root=photos).picture("01.png").size == (44, 40)


def test_a_second_writer_there_is_noticed_and_mended(s3, photos, indexed):  # noqa: F811
    indexed(photos, URI)
    expected = rows(URI)
    mine, other = (Tables(URI).open(IMAGES) for _ in range(2))
    row = mine.read(mine._table.schema.names, "id = '01.png'")
    other.add(row)
    with pytest.raises(DataError, match="another process has written to this index meanwhile"):
        mine.add(row)
    report = indexed(photos, URI)
    assert (report.mended, report.added) == (2, 1)
    assert sorted(rows(URI)) == sorted(expected)


def test_nothing_under_the_url_names_the_mend(s3, encoder):  # noqa: F811
    with pytest.raises(DataError, match=r"no index here.*fastgoal index MODEL IMAGES --uri URI"):
        Searcher.open("s3://bucket/nothing", encoder)
