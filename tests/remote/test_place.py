from pathlib import Path

import pytest

from fastgoal.errors import DataError
from fastgoal.files import make_folder
from fastgoal.remote.place import Url, inside, place_of, relative


def test_a_text_with_a_protocol_is_a_url_and_anything_else_a_path() -> None:
    assert place_of("s3://bucket/shards/") == Url("s3://bucket/shards")
    assert isinstance(place_of("s3://bucket/shards"), Url)
    for text in ("data/shards", "C:/data", "a:b", "docci/train", "/s3/b"):
        assert place_of(text) == Path(text) and not isinstance(place_of(text), Url)
    assert place_of(Url("gs://b/x")) == Url("gs://b/x")


def test_urls_are_joined_and_taken_apart() -> None:
    shard = Url("s3://bucket/data/a.b.tar")
    assert Url("s3://bucket") / "data/a.b.tar" == shard
    assert shard.parent == Url("s3://bucket/data") and shard.parent.parent == Url("s3://bucket")
    assert (shard.name, shard.suffix, shard.protocol) == ("a.b.tar", ".tar", "s3")
    assert Url("s3://bucket/pairs") / "../data" == Url("s3://bucket/data")
    assert Url("memory:///x") / "y" == Url("memory:///x/y")


def test_a_place_inside_is_relative_or_a_url_of_its_own() -> None:
    assert inside(Path("pairs"), "s3://b/data") == Url("s3://b/data")
    assert inside(Url("s3://b/pairs"), "../data") == Url("s3://b/data")
    assert inside(Path("pairs"), "../data") == Path("pairs/../data")


def test_relative_is_undone_by_joining() -> None:
    root = Url("s3://bucket/a")
    for file in (Url("s3://bucket/a/b/c.tar"), Url("s3://bucket/d.tar"), Url("s3://other/d.tar")):
        assert root / relative(file, root) == file
    assert relative(Path("x/a/c.tar"), Path("x/b")) == "../a/c.tar"


@pytest.mark.parametrize("root", [Path("here"), Url("gs://bucket/a")])
def test_data_and_root_in_different_places_are_refused(root: Path | Url) -> None:
    with pytest.raises(DataError, match=r"different places.*--root"):
        relative(Url("s3://bucket/a/c.tar"), root)


def test_results_are_not_written_into_a_folder_called_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="not written to object storage"):
        make_folder(Path("s3://bucket/out"))
    assert not list(tmp_path.iterdir())
