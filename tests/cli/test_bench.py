"""`fastgoal bench`, each benchmark in miniature."""

import json

import pytest

from fastgoal.cli import main


def bench(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["bench", *map(str, arguments)])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def rows_of(path):
    found = json.loads(path.read_text())
    assert set(found) == {"rows", "hardware", "versions"}
    assert all({"name", "ours", "reference", "ratio", "bound", "unit"} <= set(row) for row in found["rows"])
    return {row["name"]: row for row in found["rows"]}


def test_eval_in_miniature(tmp_path, capsys, together):
    sizes = ("--items", 64, "--gallery", 500, "--queries", 20, "--rounds", 1)
    code, out, _ = bench(capsys, "eval", *sizes, "--json", tmp_path / "eval.json")
    assert code == 0
    rows = rows_of(tmp_path / "eval.json")
    assert all(name in out for name in rows)
    compared = rows["joint mAP@10 of 64 x 64, both ways, beside a loop in Python"]
    assert set(compared["ratio"]) == {"median", "min", "max"}
    small, large = (rows[f"joint mAP@10 of {count} x {count}, memory"] for count in (64, 256))
    assert small["bound"] > 0
    assert 0 < small["ours"] <= large["ours"]
    assert rows["retrieval, 20 queries among 500"]["bound"] > 0
    start = rows["start of fastgoal --help (reference: python -c pass)"]
    assert 0 < start["reference"] < start["ours"]


def test_scale_in_miniature(tmp_path, capsys, together):
    sizes = ("--scenes", 2, 4, "--gallery", 100, 200, "--samples", 16, 32, "--batches", 32, 64, "--rounds", 1)
    files = ("--plot", tmp_path / "growth.svg", "--json", tmp_path / "scale.json")
    code, out, err = bench(capsys, "scale", *sizes, *files)
    assert code == 0, err
    rows = rows_of(tmp_path / "scale.json")
    assert rows["matching with tiny, 2 to 4 scenes: R2 of the line"]["ours"] == pytest.approx(1)
    assert rows["training of tiny, batch 16, 16 to 32 samples: memory at the most beside the fewest"]["reference"] > 0
    assert "R2 of the line" in out
    assert (tmp_path / "growth.svg").read_text().startswith("<?xml")


def test_decode_in_miniature(tmp_path, capsys):
    sizes = ("--width", 500, "--height", 400, "--rounds", 1)
    code, _, err = bench(capsys, "decode", *sizes, "--json", tmp_path / "decode.json")
    assert code == 0, err
    rows = rows_of(tmp_path / "decode.json")
    assert set(rows) == {f"two views of a 500 x 400 JPEG, {mode}, crop's short side 300" for mode in ("exact", "draft")}
    assert all(row["ratio"]["median"] > 0 for row in rows.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "--items", 0), "--items: 0 cannot be measured. Give 1 or more."),
        (("scale", "--samples", 16, 20), "--samples: 20 cannot be measured. Give a multiple of 16."),
        (("scale", "--scenes", 5), "--scenes: [5] are no sizes to grow over. Give two or more, the smallest first."),
        (("scale", "--gallery", 20, 10), "--gallery: [20, 10] are no sizes to grow over."),
        (("scale", "--plot", "growth.txt"), "--plot: growth.txt is no picture. End it in .png or .svg."),
    ],
)
def test_bad_sizes_are_one_line(capsys, arguments, said):
    code, _, err = bench(capsys, *arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
