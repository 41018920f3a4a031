import hashlib
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cut_short import cut_short

from fastgoal.checking import CheckSettings, audit, write_fix
from fastgoal.checking.fix import mended
from fastgoal.data.images import read_image
from fastgoal.data.samples import GivenRegion, Sample
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError

QUIET = CheckSettings(progress=False)


def look(folder, text_model, **options):
    return audit(open_source(folder, probe=False, **options), text_model, QUIET)


def state(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def fixed(messy, text_model, tmp_path_factory):
    before = state(messy)
    out = tmp_path_factory.mktemp("fix") / "deep" / "clean"
    report = write_fix(look(messy, text_model), out, progress=False)
    assert state(messy) == before
    return out, report


def test_what_is_kept_is_clean(fixed, text_model, truth):
    out, report = fixed
    kept = truth.USABLE - truth.TWINS
    assert (report.kept, report.changed, report.left_out) == (kept, 4, 31 - kept)
    source = open_source(out)
    assert (len(source), len(source.problems)) == (kept, 0)
    found = look(out, text_model)
    assert (found.records, found.samples, found.usable) == (kept, kept, kept)
    assert {one.weight for one in found.findings} == {"look"}
    assert not found.ledger.twin_N.any()
    assert sorted(path.name for path in out.iterdir()) == ["captions.jsonl", "left-out.jsonl"]


def test_samples_keep_their_ids_order_pixels_and_words(fixed, messy):
    before, after = {s.id: s for s in open_source(messy)}, open_source(fixed[0])
    assert [s.id for s in after] == [i for i in before if i in {s.id for s in after}]
    for sample in after:
        was = before[sample.id]
        assert not Path(sample.image).is_absolute()
        image = read_image(after.images.open(sample.image))
        assert image.tobytes() == read_image(open_source(messy).images.open(was.image)).tobytes()
        assert sample.caption == sample.caption.strip()
        for region in sample.regions:
            assert 0 <= region.box[0] < region.box[2] <= image.width
            assert 0 <= region.box[1] < region.box[3] <= image.height
    samples = {sample.id: sample for sample in after}
    assert samples["beyond"].regions == (GivenRegion(box=(50, 40, 96, 60), span=(2, 6)),)
    assert [region.span for region in samples["spaces"].regions] == [(2, 6), None]
    assert samples["spaces"].caption[2:6] == "lamp"
    assert samples["control"].caption == "A cat  is  on the mat of the house."
    assert samples["boxes"].regions == before["boxes"].regions


def test_what_is_left_out_is_written_down(fixed, messy):
    lines = [json.loads(line) for line in (fixed[0] / "left-out.jsonl").read_text().splitlines()]
    rows = [int(line["where"].removeprefix(f"{messy}/captions.jsonl:").split(",")[0].split(" ")[0]) for line in lines]
    assert rows == [4, 13, *range(19, 32)]
    assert all(line["what"] and line["mend"] for line in lines)
    assert lines[1]["what"] == "an earlier sample has the same image and caption"


def test_images_inside_tables_and_tars_keep_their_place(tmp_path, text_model, truth):
    pictures = [truth.jpeg(truth.photo(seed)) for seed in range(3)]
    (tmp_path / "data" / "loose").mkdir(parents=True)
    (tmp_path / "data" / "loose" / "2.jpg").write_bytes(pictures[2])
    held = [(pictures[0], None), (b"no", None), (None, "loose/2.jpg")]
    cells = [{"bytes": content, "path": path} for content, path in held]
    captions = ["The first one.", "The second one.", "The third one."]
    pq.write_table(pa.table({"image": cells, "caption": captions}), tmp_path / "data" / "a.parquet")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for name, content in (("x/1.jpg", pictures[1]), ("x/1.txt", b"The one in the tar.")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    for data, expected in (("data", [pictures[0], pictures[2]]), ("b.tar", [pictures[1]])):
        out = tmp_path / f"clean-{data}"
        write_fix(look(tmp_path / data, text_model), out, progress=False)
        source = open_source(out)
        opened = [source.images.open(sample.image) for sample in source]
        assert [one if isinstance(one, bytes) else one.read_bytes() for one in opened] == expected
    assert not tmp_path.joinpath("clean-data", "captions.jsonl").read_text().count(str(tmp_path))


def test_a_caption_of_nothing_but_control_characters_is_left_out(tmp_path, text_model, truth):
    (tmp_path / "a.jpg").write_bytes(truth.jpeg(truth.photo(0)))
    lines = [{"image": "a.jpg", "caption": caption} for caption in ("A dog.", "\x00\x01", "A dog.", " A dog.\x07")]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = write_fix(look(tmp_path, text_model), tmp_path / "out", progress=False)
    assert (report.kept, report.left_out) == (1, 3)


def test_nothing_is_written_over_and_nothing_unseen_is_called_clean(messy, text_model, tmp_path):
    found = look(messy, text_model)
    for taken in (messy, messy / "captions.jsonl"):
        with pytest.raises(ConfigError, match="something is there already"):
            write_fix(found, taken)
    half = audit(open_source(messy), text_model, CheckSettings(images=3, progress=False))
    with pytest.raises(ConfigError, match="not every image was opened"):
        write_fix(half, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("at", [0, 1])
def test_a_fix_that_was_killed_may_be_done_again(messy, text_model, fixed, tmp_path, monkeypatch, at):
    """Before what was left out takes its place, and before the table does."""
    found = look(messy, text_model)
    out = tmp_path / "deep" / "clean"  # as deep as the other, for the images' relative paths
    assert cut_short(lambda: write_fix(found, out, progress=False), at, monkeypatch)
    assert len(list(out.iterdir())) == 2
    write_fix(found, out, progress=False)
    assert sorted(path.name for path in out.iterdir()) == ["captions.jsonl", "left-out.jsonl"]
    assert (out / "left-out.jsonl").read_bytes() == (fixed[0] / "left-out.jsonl").read_bytes()
    assert [s.caption for s in open_source(out)] == [s.caption for s in open_source(fixed[0])]
    with pytest.raises(ConfigError, match="something is there already"):
        write_fix(found, out, progress=False)


def test_the_sample_itself_is_not_changed_where_nothing_is_wrong():
    region = GivenRegion(box=(0, 0, 5, 5), span=(0, 1), label="a")
    sample = Sample(id="1", image="a.jpg", caption="A dog.", regions=(region,))
    assert mended(sample, 10, 10) == sample
