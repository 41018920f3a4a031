"""A table without regions: its rows against matched ones, what is left unread, and interruptions."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest
from PIL import Image
from tests.bad_input.cases import good, picture, write

from fastgoal.data.samples import Sample
from fastgoal.data.source import Entry, Source, open_source
from fastgoal.errors import DataError
from fastgoal.matching import MatchSettings, match, tabulate
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions.fixed import FixedRegions


def rows(folder):
    return list(PairsTable.open(folder))


def turned(orientation, kind, size=(40, 32)):
    """A picture whose EXIF says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, kind, exif=exif)
    return file.getvalue()


def test_rows_are_matched_ones_without_their_regions(tmp_path, small_clip_folder):
    data = good(tmp_path)
    for name, kind in {"3.jpg": "JPEG", "4.png": "PNG", "5.webp": "WEBP"}.items():
        write(data / name, turned(6, kind))
        write(data / f"{name[0]}.txt", "A red wall. Nothing else.")
    write(data / "6.jpg", b"no image")
    write(data / "6.txt", "Nothing.")
    source = open_source(data)
    report = tabulate(source, tmp_path / "plain", progress=False)
    encoder = DualEncoder.load(small_clip_folder)
    match(source, encoder, FixedRegions(), tmp_path / "matched", MatchSettings(batch=4), progress=False)
    bare = [replace(row, regions=(), pairs=()) for row in rows(tmp_path / "matched")]
    assert rows(tmp_path / "plain") == bare
    assert (bare[4].width, bare[4].height) == (32, 40)
    assert (report.samples, report.paired, dict(report.unpaired)) == (7, 0, {"no region": 6})
    assert report.skipped == {"not an image that Pillow can open": 1}


def test_of_an_image_the_header_alone_is_read(tmp_path):
    data = good(tmp_path, 1)
    whole = picture((400, 300), kind="JPEG")
    write(data / "0.png", whole[: len(whole) // 2])  # decoding it would fail
    tabulate(open_source(data), tmp_path / "pairs", progress=False)
    assert [(row.width, row.height, row.skip) for row in rows(tmp_path / "pairs")] == [(400, 300, None)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_images_in_tars_come_in_order_whatever_the_workers(tmp_path, workers):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(200):
            for name, data in ((f"{number:03d}.png", picture((20 + number, 24))), (f"{number:03d}.txt", b"A ball.")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    tabulate(open_source(tmp_path / "a.tar"), tmp_path / "pairs", workers=workers, shard_rows=70, progress=False)
    assert [(row.id, row.width) for row in rows(tmp_path / "pairs")] == [(f"{n:03d}", 20 + n) for n in range(200)]


@dataclass(frozen=True)
class CutOff:
    """The samples of a source up to where somebody pressed Ctrl-C; the first pass (for the key) is left alone."""

    source: Source
    passes: list[int]
    after: int

    def __iter__(self) -> Iterator[Sample]:
        self.passes.append(1)
        for number, sample in enumerate(self.source):
            if len(self.passes) > 1 and number == self.after:
                raise KeyboardInterrupt
            yield sample


def test_interrupted_it_continues_to_the_same_table(tmp_path):
    source = open_source(good(tmp_path, 11))
    tabulate(source, tmp_path / "straight", shard_rows=3, progress=False)
    stopped = replace(source, entries=CutOff(source, [], 8))
    with pytest.raises(KeyboardInterrupt):
        tabulate(stopped, tmp_path / "pairs", shard_rows=3, progress=False)
    assert len(PairsTable.open(tmp_path / "pairs", allow_incomplete=True)) == 6
    report = tabulate(source, tmp_path / "pairs", shard_rows=3, progress=False)
    files = [sorted(path for path in (tmp_path / name).iterdir()) for name in ("straight", "pairs")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert report.samples == 11
    assert report.images_per_second * report.seconds == pytest.approx(5)


def test_it_does_not_go_on_where_a_matcher_was_at_work(tmp_path, small_clip_folder):
    source, out = open_source(good(tmp_path)), tmp_path / "pairs"
    match(source, DualEncoder.load(small_clip_folder), FixedRegions(), out, progress=False)
    with pytest.raises(DataError, match="made differently: matcher was"):
        tabulate(source, out, progress=False)
    assert tabulate(source, out, overwrite=True, progress=False).paired == 0


def test_the_data_is_gone_through_twice(tmp_path):
    """Once for its fingerprint and once for its rows; what lies elsewhere would have to be fetched for each pass."""
    source, passes = open_source(good(tmp_path)), []
    write(tmp_path / "data" / "9.txt", "A caption without an image.")
    counted = replace(source, entries=Counted(source.entries, passes))
    report = tabulate(counted, tmp_path / "pairs", progress=False)
    assert len(passes) == 2
    assert sum(report.skipped.values()) == 1


@dataclass(frozen=True)
class Counted:
    entries: Iterable[Entry]
    passes: list[int]

    def __iter__(self) -> Iterator[Entry]:
        self.passes.append(1)
        return iter(self.entries)


def test_without_a_readable_image_it_ends(tmp_path):
    data = good(tmp_path)
    for path in data.glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"0 of 3 samples can be used \(first: 0\.png: the image file is empty"):
        tabulate(open_source(data), tmp_path / "pairs", progress=False)


def test_the_command_loads_no_model(tmp_path, capsys):
    from fastgoal.cli.match import match as command

    command(good(tmp_path), out=tmp_path / "pairs", regions="none", matcher="/no/such/model", json=tmp_path / "m.json")
    assert capsys.readouterr().out.startswith("0 of 3 samples have a local pair; 0.0 regions per image")
    assert PairsTable.open(tmp_path / "pairs").manifest.origin.settings == {"regions": "none", "language": "en"}
    assert (tmp_path / "m.json").is_file()
