"""What kills and second writers leave, and how it is put right."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest
from tests.search.conftest import expect_equal_rows, rows

from fastgoal.errors import DataError
from fastgoal.search.lock import one_writer
from fastgoal.search.tables import IMAGES, REGIONS, Tables


def opened(uri, name):
    return Tables(uri).open(name)


@pytest.fixture
def uri(photos, indexed, tmp_path):
    indexed(photos, tmp_path / "index", regions="fixed")
    return tmp_path / "index"


def test_an_image_that_is_there_twice_and_regions_of_none_are_mended(uri, photos, indexed):
    expected, regions = rows(uri), rows(uri, REGIONS)
    for name, condition in ((IMAGES, "id = '01.png'"), (REGIONS, "id IN ('01.png', '03.png')")):
        table = opened(uri, name)
        table.add(table.read(table._table.schema.names, condition))  # as two writers at once would
    table = opened(uri, REGIONS)
    orphans = table.read(table._table.schema.names, "id = '00.png'")
    nobody = pa.array([7] * len(orphans), pa.int64())
    table.add(orphans.set_column(1, orphans.schema.field("key"), nobody))  # as a kill between the tables leaves them
    report = indexed(photos, uri, regions="fixed")
    assert report.added == 2  # both images whose rows or regions were doubled
    assert report.mended == 2 + 1 + 10 + 10 + 5
    expect_equal_rows(rows(uri), expected)
    expect_equal_rows(rows(uri, REGIONS), regions)


def test_a_second_writer_is_told_so_at_once(uri, photos, indexed):
    with (
        one_writer(uri),
        pytest.raises(DataError, match=rf"process {os.getpid()} on .* is writing to this index.*Wait until"),
    ):
        indexed(photos, uri, regions="fixed")
    indexed(photos, uri, regions="fixed")


def test_a_lock_does_not_outlive_its_process(uri, photos, indexed):
    code = f"""
from pathlib import Path
import os, signal
from fastgoal.search.lock import one_writer
with one_writer(Path({str(uri)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert indexed(photos, uri, regions="fixed").unchanged == 12


def test_where_no_lock_holds_the_commits_of_another_are_noticed(uri):
    mine, other = opened(uri, IMAGES), opened(uri, IMAGES)
    row = mine.read(mine._table.schema.names, "id = '01.png'")
    other.add(row)
    with pytest.raises(DataError, match="another process has written to this index meanwhile"):
        mine.add(row)
    assert mine.count("id = '01.png'") == 2  # nothing was added


def test_an_older_version_can_be_read_after_a_rewrite(uri, photos, indexed):
    old = opened(uri, IMAGES)
    for path in sorted(photos.glob("*.png"))[:3]:
        path.unlink()
    indexed(photos, uri, regions="fixed")
    assert (len(old), len(opened(uri, IMAGES))) == (12, 9)
    assert len(old.read(["vector"])) == 12
