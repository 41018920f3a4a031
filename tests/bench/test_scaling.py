"""Growth: the line by hand, sizes in turn within a round, and the rows and the picture made of them."""

from pathlib import Path

import pytest
from matplotlib.image import imread

from fastgoal.bench.picture import draw, expect_picture
from fastgoal.bench.scaling import Growth, Line, Sweep
from fastgoal.errors import ConfigError
from fastgoal.progress import Progress

GROWTH = Growth(what="work", of="items", sizes=(1, 2, 4), seconds=(3.0, 5.0, 9.0), peak_mib=(100.0, 101.0, 110.0))


def test_a_straight_line_is_found():
    line = GROWTH.line
    assert (line.a, line.b, line.r2) == (pytest.approx(1), pytest.approx(2), pytest.approx(1))
    assert line.deviation == pytest.approx(0, abs=1e-12)


def test_a_crooked_one_is_told_apart():
    # By the normal equations of (0, 1), (1, 1), (2, 4).
    line = Line.through((0, 1, 2), (1, 1, 4))
    assert (line.a, line.b) == (pytest.approx(0.5), pytest.approx(1.5))
    assert line.r2 == pytest.approx(1 - 1.5 / 6)  # misses 0.5, -1, 0.5; spread around 2: 1, 1, 4
    assert line.deviation == pytest.approx(1)  # 1 where the line says 0.5
    assert Line.through((10, 20, 40, 80), (1, 4, 16, 64)).r2 < 0.97


def test_rows_tell_points_line_and_memory():
    rows = {row.name: row for row in GROWTH.rows()}
    assert [row.ours for row in list(rows.values())[:3]] == [3, 5, 9]
    span = "work, 1 to 4 items: "
    assert rows[span + "the line at 0"].ours == pytest.approx(1)
    assert rows[span + "the line per 1,000"].ours == pytest.approx(2000)
    memory = rows[span + "memory at the most beside the fewest"]
    assert (memory.ours, memory.reference, memory.ratio.median) == (110, 100, pytest.approx(1.1))
    level = Growth(what="w", of="o", sizes=(1, 2), seconds=(1, 1), peak_mib=(1, 1), linear=False)
    assert len(level.rows()) == 3


def test_sizes_take_turns_and_medians_stay():
    asked, seconds = [], iter([1, 10, 30, 3, 2, 20])

    def work(size):
        asked.append(size)
        return {"seconds": next(seconds), "peak_mib": 7 * size}

    sweep = Sweep(what="w", of="o", sizes=(4, 8), work=work, flat=False)
    with Progress(6, "", "", show=False) as bar:
        found = sweep.measured(3, bar)
    assert asked == [4, 8, 8, 4, 4, 8]
    assert (found.seconds, found.peak_mib, found.flat) == ((2, 20), (28, 56), False)


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_the_picture_is_written(tmp_path, name):
    path = tmp_path / "new" / name
    expect_picture(path)
    draw([GROWTH, GROWTH], path)
    if name.endswith("png"):
        height, width, _ = imread(path).shape
        assert width > height
    else:
        assert path.read_text().startswith("<?xml")


def test_what_is_no_picture_is_refused():
    with pytest.raises(ConfigError, match=r"growth\.txt is no picture"):
        expect_picture(Path("growth.txt"))
    expect_picture(None)
