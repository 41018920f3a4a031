"""The embedding cache: what is found is what was kept, and nothing else; kills, damage and company do no harm."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgoal.cache import EmbeddingCache, text_key, view_keys
from fastgoal.errors import DataError

DIM = 6


def keys(*names: object) -> list[bytes]:
    return [text_key(str(name)) for name in names]


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def test_what_was_kept_is_found_by_this_process_and_the_next(tmp_path: Path) -> None:
    cache, kept = EmbeddingCache(tmp_path, "model", DIM), rows(5)
    cache.add(keys(*range(3)), kept[:3])
    cache.add(keys(3, 4), kept[3:])
    for opened in (cache, EmbeddingCache(tmp_path, "model", DIM)):
        places = opened.find(keys(4, "other", 0, 3))
        assert (places < 0).tolist() == [False, True, False, False]
        np.testing.assert_array_equal(opened.rows(places[places >= 0]), kept[[4, 0, 3]])
        assert len(opened) == 5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 40), max_size=12), max_size=6), st.lists(st.integers(0, 50), max_size=20))
def test_it_is_a_dictionary(tmp_path_factory: pytest.TempPathFactory, parts: list[set[int]], asked: list[int]) -> None:
    folder, known, number = tmp_path_factory.mktemp("cache"), {}, 0
    for part in parts:
        cache = EmbeddingCache(folder, "model", DIM)
        new = [name for name in sorted(part) if name not in known]
        made = rows(len(new), seed=(number := number + 1))
        cache.add(keys(*new), made)
        known.update(zip(new, made, strict=True))
    cache = EmbeddingCache(folder, "model", DIM)
    places = cache.find(keys(*asked))
    assert (places >= 0).tolist() == [name in known for name in asked]
    found = cache.rows(places[places >= 0])
    np.testing.assert_array_equal(found, np.array([known[n] for n in asked if n in known]).reshape(-1, DIM))


def test_filled_keeps_what_is_new(tmp_path: Path) -> None:
    cache, kept = EmbeddingCache(tmp_path, "model", DIM), rows(4)
    cache.add(keys(1, 3), kept[[1, 3]])
    asked = keys(0, 1, 2, 3)
    np.testing.assert_array_equal(cache.filled(asked, cache.find(asked), kept[[0, 2]]), kept)
    assert (cache.find(asked) >= 0).all()
    assert (cache.found, cache.made) == (2, 4)


def test_models_share_nothing(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path, "one", DIM).add(keys(1), rows(1))
    assert (EmbeddingCache(tmp_path, "other", DIM).find(keys(1)) < 0).all()


def test_keys_are_of_content_and_box() -> None:
    boxes = [None, (0.0, 0.0, 8.0, 8.0), (0.0, 0.0, 8.0, 9.0)]
    all_keys = [*view_keys(b"image", boxes), *view_keys(b"Image", boxes), *keys("image", "Image", "")]
    assert len(set(all_keys)) == len(all_keys)
    assert view_keys(b"image", boxes) == view_keys(b"image", boxes)


@pytest.mark.parametrize("harm", ["cut off", "empty", "other dimensions", "not a part"])
def test_a_damaged_part_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str) -> None:
    cache = EmbeddingCache(tmp_path, "model", DIM)
    cache.add(keys(1, 2), rows(2))
    (part,) = cache.folder.glob("part-*")
    cache.add(keys(3), rows(1))
    if harm == "other dimensions":
        EmbeddingCache(tmp_path, "wide", DIM + 1).add(keys(1), np.zeros((1, DIM + 1), np.float32))
        part.write_bytes(next((tmp_path / "wide").glob("part-*")).read_bytes())
    else:
        content = part.read_bytes()
        part.write_bytes({"cut off": content[:-5], "empty": b"", "not a part": b"x" * 200}[harm])
    again = EmbeddingCache(tmp_path, "model", DIM)
    assert (again.find(keys(1, 2, 3)) < 0).tolist() == [True, True, False]
    said = capsys.readouterr().err
    assert said.startswith(f"left out of the cache: {part} (")
    assert said.count("\n") == 1


KILLED = """
import os, sys
import numpy as np
from fastgoal import cache
real = cache.save_file
def half(content, path):
    real(content, path)
    size = os.path.getsize(path)
    os.truncate(path, size // 2)
    os.kill(os.getpid(), 9)
kept = cache.EmbeddingCache(sys.argv[1], "model", 6)
kept.add([cache.text_key("whole")], np.ones((1, 6), np.float32))
cache.save_file = half
kept.add([cache.text_key("half")], np.ones((1, 6), np.float32))
"""


def test_a_kill_loses_the_part_that_was_being_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    (rest,) = (tmp_path / "model").glob("*.tmp")
    cache = EmbeddingCache(tmp_path, "model", DIM)
    assert (cache.find(keys("whole", "half")) >= 0).tolist() == [True, False]
    assert capsys.readouterr().err == ""
    assert rest.exists()  # another process might be writing it
    long_ago = time.time() - 7200
    os.utime(rest, (long_ago, long_ago))
    EmbeddingCache(tmp_path, "model", DIM)
    assert not rest.exists()


def test_two_at_once_do_no_harm(tmp_path: Path) -> None:
    one, other, kept = EmbeddingCache(tmp_path, "model", DIM), EmbeddingCache(tmp_path, "model", DIM), rows(3)
    one.add(keys(0, 1), kept[:2])
    other.add(keys(1, 2), kept[1:])
    both = EmbeddingCache(tmp_path, "model", DIM)
    np.testing.assert_array_equal(both.rows(both.find(keys(0, 1, 2))), kept)


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="a file has this name"):
        EmbeddingCache(tmp_path / "file", "model", DIM)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = EmbeddingCache(tmp_path, "model", DIM)
    monkeypatch.setattr("fastgoal.cache.save_file", refuse)
    with pytest.raises(DataError, match="cannot write here"):
        cache.add(keys(1), rows(1))
    assert not list(cache.folder.iterdir())
