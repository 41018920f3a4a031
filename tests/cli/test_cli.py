"""The command line as a user meets it: exit codes, one-line errors, results in files.

All but a few run in this process, because one of its own takes seconds to import torch; the whole story runs in real
ones in `tests/test_readme.py` and `tests/test_kill.py`.
"""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastgoal.cli import COMMANDS, continuing, main

QUIET = {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "100"}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """Offline, without colours."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        yield


def apart(*arguments, cwd=None):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "fastgoal", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def fastgoal(*arguments, cwd="."):
    """Run the command line in this process."""
    tokens, out, err = [str(argument) for argument in arguments], io.StringIO(), io.StringIO()
    caught = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with caught[0], caught[1], contextlib.chdir(cwd), pytest.raises(SystemExit) as end:
        main(tokens)
    return subprocess.CompletedProcess(tokens, end.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, quiet):
    folder = tmp_path_factory.mktemp("cli") / "scenes"
    done = fastgoal("scenes", folder, "--train", 12, "--val", 4, "--test", 8, "--json", folder.parent / "scenes.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder.parent / "scenes.json").read_text())["counts"] == {"train": 12, "val": 4, "test": 8}
    return folder


def test_help_lists_every_command_with_a_line_about_it():
    done = apart("--help")
    assert done.returncode == 0
    for name, text in COMMANDS.items():
        assert name in done.stdout
        assert text.split()[0] in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_with_an_example(name):
    # Of a group, a call that is not for it replaces what it says of itself, for the rest of the process.
    done = (apart if name == "bench" else fastgoal)(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"fastgoal {name} " in done.stdout.split("Example:")[1]


def test_a_misspelt_command_or_option_gets_a_suggestion():
    done = fastgoal("scens")
    assert done.returncode == 2
    assert "scenes" in done.stdout + done.stderr
    done = fastgoal("scenes", "out", "--trian", 3)
    assert done.returncode == 2
    assert "--train" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scenes", "out", "--objects", "many"), "'many' is not a range"),
        (("scenes", "out", "--objects", "3-12"), "objects: 3-12 objects"),
        (("check", "nowhere"), "nowhere: no such file or folder"),
        (("check", "..", "--fix", ".."), "something is there already"),
        (("check", ".", "--fix", "new", "--images", "3"), "--fix opens every image"),
        (("check", ".", "--images", "-1"), "-1 images"),
        (("check", ".", "--model", "no-such-model"), "no-such-model"),
        (("match", "nowhere", "--out", "pairs"), "nowhere: no such file or folder"),
        (("train", "nowhere", "--model", "tiny", "--out", "run"), "nowhere"),
        (("eval", "no-such-model", "nowhere"), "no-such-model"),
        (("report", "nowhere", "--out", "page"), "metrics.json"),
        (("demo", "--quick", "--full"), "Choose one of them"),
        (("eval", "tiny", ".", "--task", "localize", "--protocol", "joint"), "protocol 'joint' is for joint"),
        (("eval", "tiny", ".", "--batch", "0"), "0 images per forward pass"),
        (("eval", "tiny", ".", "--device", "cuda:77"), "this device cannot be used"),
        (("report", ".", "--out", "."), "Choose another folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, said):
    expect_one_line(fastgoal(*arguments, cwd=tmp_path), said)


def test_bad_input_is_one_line_of_a_process_too(tmp_path):
    """Where nothing is caught that a library prints."""
    expect_one_line(apart("eval", "tiny", ".", "--batch", "0", cwd=tmp_path), "0 images per forward pass")


def expect_one_line(done, said):
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("train", "my pairs", "--out", "run"), "fastgoal train 'my pairs' --out run --resume"),
        (("train", "pairs", "--resume", "--out", "run"), "fastgoal train pairs --resume --out run"),
        (("match", "data", "--overwrite", "--out", "pairs"), "fastgoal match data --out pairs"),
    ],
)
def test_what_continues_an_interrupted_command_never_starts_over(typed, said):
    assert continuing(typed) == f"continue with: {said}"


def test_a_launcher_is_for_training_alone(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="2"):
        main(["match", "data", "--out", "pairs"])
    assert capsys.readouterr().err.startswith("fastgoal [rank 1]: match: only `train` runs in several processes.")
    assert continuing(["train", "pairs"]) == "continue with the same launch command and --resume"


def test_debug_shows_where_an_error_came_from(tmp_path):
    done = apart("scenes", "out", "--objects", "many", "--debug", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_check_says_what_is_wrong_and_mends_it(scenes, tmp_path):
    done = fastgoal("check", scenes / "train", scenes / "test", "--picture", tmp_path / "look.png", "--json",
                    tmp_path / "check.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "12 of 12 opened can be used" in done.stdout
    result = json.loads((tmp_path / "check.json").read_text())
    assert (result["ready"], result["usable"], result["others"][0]["usable"]) == (True, 12, 8)
    assert (tmp_path / "look.png").stat().st_size > 10_000

    broken = tmp_path / "broken"
    broken.mkdir()
    for name, content in {"a.jpg": (scenes / "train/images/train-00000.jpg").read_bytes(), "b.jpg": b""}.items():
        (broken / name).write_bytes(content)
        (broken / name).with_suffix(".txt").write_text("A picture of things on a table.")
    done = fastgoal("check", broken, "--fix", tmp_path / "clean")
    assert done.returncode == 1
    assert "Training cannot start: 1 usable sample; it takes two to contrast." in done.stdout
    assert (tmp_path / "clean" / "captions.jsonl").read_text().count("\n") == 1
    assert not done.stderr


def test_settings_come_from_a_file_and_flags_win(scenes, tmp_path):
    pairs = tmp_path / "pairs"
    done = fastgoal("match", scenes / "train", "--out", pairs, "--regions", "fixed", "--json", tmp_path / "match.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "match.json").read_text())["samples"] == 12
    settings = tmp_path / "settings.yaml"
    settings.write_text("method: global\nmax_steps: 2\nbatch_size: 4\nlearning_rate: 1e-4\n")
    done = fastgoal(
        "train", pairs, "--model", "tiny", "--out", tmp_path / "run", "--config", settings, "--batch-size", 6,
        "--json", tmp_path / "train.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "train.json").read_text())
    assert (report["method"], report["steps"]) == ("global", 2)
    assert report["config"]["batch_size"] == 6
    assert report["config"]["learning_rate"] == 1e-4

    settings.write_text("methud: global\n")
    done = fastgoal("train", pairs, "--model", "tiny", "--out", tmp_path / "other", "--config", settings)
    assert done.returncode == 2
    assert "unknown setting 'methud'. Did you mean 'method'?" in done.stderr

    stored = fastgoal("eval", tmp_path / "run" / "model", scenes / "test", "--json", tmp_path / "eval.json")
    assert stored.returncode == 0, stored.stderr
    result = json.loads((tmp_path / "eval.json").read_text())
    assert (result["items"], result["text_tokens"]) == (8, 248)
    assert set(result["t2i"]) == {"R@1", "R@5", "R@25", "R@50"}


def test_a_stretched_model_is_a_model(tmp_path):
    done = fastgoal("stretch", "tiny", tmp_path / "long", "--tokens", 100)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "long" / "config.json").read_text())["text_config"]["max_position_embeddings"] == 100
    assert fastgoal("stretch", "tiny", tmp_path / "long").returncode == 2


def test_results_go_where_json_says(scenes, tmp_path):
    where = tmp_path / "a" / "b.json"
    done = fastgoal("eval", "tiny", scenes / "test", "--task", "localize", "--json", where)
    assert done.returncode == 0, done.stderr
    assert json.loads(Path(where).read_text())["protocol"] == "localisation"
