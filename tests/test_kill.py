"""Nothing is lost: `match` and `train` are killed, interrupted and refused by the disk at many points, and continued.

The one idea: this process has imported everything; each run is a fork of it in which the calls that touch the disk are
counted points, before, in the middle of and behind each. At a chosen point the fork is killed, gets a signal, or its
call is refused. A second fork continues, and what it ends with is compared with an uninterrupted run.
"""

import builtins
import errno
import gc
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.dataset  # noqa: F401  (reading a table would import it in every fork)
import pytest
import safetensors.torch
import torch
import torch.utils.serialization
import transformers.modeling_utils
from safetensors.torch import save_file

import fastgoal.cli.eval
import fastgoal.cli.match
import fastgoal.cli.train
from fastgoal.cli import main
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.matching import MatchSettings
from fastgoal.models.dual_encoder import DualEncoder

resource = pytest.importorskip("resource")  # not there on Windows, like `fork`
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
PROGRESS = ("goal: step", "goal: precision", "left out", "settings: ", "doubtful: ")
TIMES = ("seconds", "samples_per_second", "data_wait", "memory_mib", "peak_memory_mib", "images_per_second")
SAME = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "tally.json")
STOPS = (signal.SIGTERM, signal.SIGINT)
REFUSED = tuple(f"before {name}" for name in ("write", "append", "fsync", "mkdir", "replace", "rename"))
SYSTEM_CALLS = ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir")


# Points


class Points:
    """Counts the points of a process; at number `at` it calls `act`. `names` says what each point was."""

    def __init__(self, at: int | None = None, act: Callable[[], None] | None = None) -> None:
        self.names: list[str] = []
        self._at, self._act = at, act

    def install(self) -> None:
        """Put points around every call that changes the disk, for good: only forks do this."""
        os.fsync = lambda handle: None  # a kill does not lose what the system holds, so nobody has to wait
        for name in SYSTEM_CALLS:
            setattr(os, name, self._around(name, getattr(os, name)))
        self._open = io.open
        builtins.open = io.open = self._opened  # type: ignore[assignment]
        torch.save = self._around("torch.save", torch.save, half=lambda obj, path, **_: cut_in_half(path))
        save = self._around("safetensors", save_file, half=lambda tensors, path, **_: cut_in_half(path))
        safetensors.torch.save_file = transformers.modeling_utils.safe_save_file = save

    def meet(self, name: str, first: Callable[[], object] | None = None) -> None:
        self.names.append(name)
        if len(self.names) - 1 == self._at:
            if first is not None:
                first()
            assert self._act is not None
            self._act()

    def _around(self, name: str, call: Callable[..., Any], half: Callable[..., None] | None = None) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.meet(f"before {name}")
            result = call(*arguments, **options)
            if half is not None:
                self.meet(f"amid {name}", partial(half, *arguments, **options))
            self.meet(f"after {name}")
            return result

        return counted

    def _opened(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        opened = self._open(file, mode, *arguments, **options)
        if not set(mode) & set("wax") or not isinstance(file, str | Path):
            return opened
        return Written(opened, self, "append" if "a" in mode else "write")


class Written:
    """A file that is written to."""

    def __init__(self, file: Any, points: Points, name: str) -> None:
        self._file, self._points, self._name = file, points, name

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._points.meet(f"before {self._name}")
        self._points.meet(f"amid {self._name}", half)
        count: int = self._file.write(data)
        self._file.flush()
        self._points.meet(f"after {self._name}")
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def cut_in_half(path: str | Path) -> None:
    os.truncate(path, Path(path).stat().st_size // 2)


def sent(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def refuse() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Runs


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended: its exit code (or minus the signal), its errors, and its points if it was not killed."""

    code: int
    errors: str
    points: list[str]

    @property
    def message(self) -> str:
        """The one line that is not progress."""
        lines = [line for line in self.errors.splitlines() if not line.startswith(PROGRESS)]
        assert len(lines) == 1, self.errors
        return lines[0]


class Warm:
    """Runs commands in forks of this process; what they print goes to files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.output, self._errors, self._points = (folder / name for name in ("output", "errors", "points"))

    def run(
        self, command: Sequence[object], at: int | None = None, act: Callable[[], None] | None = None, limit: int = 0
    ) -> Ended:
        """Carry out a command, acting at a point, or with no file growing beyond `limit` bytes."""
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            self._carry_out([str(part) for part in command], Points(at, act), limit)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        names = json.loads(self._points.read_text() or "[]")
        return Ended(code=code, errors=self._errors.read_text(), points=names)

    def _carry_out(self, command: list[str], points: Points, limit: int) -> None:
        code = 70
        try:
            signal.alarm(120)  # no test waits for ever
            gc.freeze()  # or each collection would copy all that is shared with the parent
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            sys.stdout, sys.stderr = self.output.open("w", buffering=1), self._errors.open("w", buffering=1)
            points_file = self._points.open("w")
            points.install()
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            main(command)
        except SystemExit as end:
            code = int(end.code or 0)
            json.dump(points.names, points_file)
            points_file.close()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)


Command = Callable[..., list[object]]
"""The command that writes to a folder."""


def everything(folder: Path) -> dict[str, bytes]:
    """All files, byte for byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_times(text: bytes) -> list[dict[str, Any]]:
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in text.splitlines()]


def outcome(run: Path) -> dict[str, Any]:
    """What a training run left: every file's name, weights and model files byte for byte, the history without times."""
    files = everything(run)
    compared: dict[str, Any] = dict.fromkeys(files, b"")
    for name, content in files.items():
        if name.startswith("model/") or Path(name).name in SAME or name in ("best.json", "settings.json"):
            compared[name] = content
    report = json.loads(files["train.json"])
    kept = {name: report[name] for name in ("steps", "loss", "best_step", "validation", "samples", "config")}
    return compared | {"history.jsonl": without_times(files["history.jsonl"]), "train.json": kept}


def chosen(points: Sequence[str]) -> list[int]:
    """Both sides of every renaming, every middle of appending, and evenly spread middles of other writing."""
    amid = [i for i, name in enumerate(points) if name.startswith("amid")]
    always = ("replace", "rename", "amid append")
    return sorted({*evenly(amid, 6), *(i for i, name in enumerate(points) if name.endswith(always))})


def evenly(numbers: Sequence[int], count: int) -> list[int]:
    """`count` of them, the first and the last included."""
    return [numbers[round(i * (len(numbers) - 1) / (count - 1))] for i in range(count)]


def refusable(names: Sequence[str], count: int) -> list[int]:
    """Evenly spread points among those at which a full disk says so."""
    return evenly([i for i, name in enumerate(names) if name in REFUSED], count)


def check_refusal(ended: Ended, out: Path) -> None:
    assert ended.code == 2, ended.errors
    assert ended.message.startswith(f"fastgoal: {out}")
    assert "cannot write here" in ended.message
    assert "Make room" in ended.message


def printed(message: str) -> list[str]:
    """The command that an interrupted one printed."""
    before, _, command = message.partition("continue with: fastgoal ")
    assert before.startswith("fastgoal: interrupted.")
    return shlex.split(command)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill") / "scenes"
    write_scenes(folder, ScenesConfig(train=12, val=5, test=20, seed=3), progress=False)
    return folder


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory, small_clip_folder: Path) -> Iterator[Warm]:
    """Every fork finds the model loaded, as its own copy."""
    ready, load = DualEncoder.load(small_clip_folder), DualEncoder.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastgoal.cli.match, "MatchSettings", partial(MatchSettings, shard_rows=6))
        patch.setattr(
            DualEncoder, "load", lambda name, **own: ready if name == str(small_clip_folder) else load(name, **own)
        )
        yield Warm(tmp_path_factory.mktemp("warm"))


@pytest.fixture(scope="module")
def matching(scenes: Path, small_clip_folder: Path) -> Command:
    return lambda out: ["match", scenes / "train", "--out", out, "--matcher", small_clip_folder, "--regions", "fixed"]


@pytest.fixture(scope="module")
def training(scenes: Path, small_clip_folder: Path, warm: Warm, matching: Command) -> Command:
    """Four steps, the fourth in a second epoch; checkpoints, validation and history do not come together."""
    pairs, held_out = scenes.parent / "pairs", scenes.parent / "pairs-val"
    assert warm.run(matching(pairs)).code == 0
    assert warm.run([*matching(held_out), "--limit", 5]).code == 0
    given = ["train", pairs, "--val", held_out, "--model", small_clip_folder]
    settings = {"batch_size": 4, "learning_rate": 1e-3, "text_tokens": 77, "keep_checkpoints": 1}
    steps = {"max_steps": 4, "save_every": 2, "eval_every": 3, "log_every": 3}

    def command(out: Path, **other: object) -> list[object]:
        flags = [(f"--{name.replace('_', '-')}", value) for name, value in (settings | steps | other).items()]
        return [*given, "--out", out, *chain.from_iterable(flags)]

    return command


@pytest.fixture(scope="module")
def matched(
    warm: Warm, matching: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], list[str]]:
    """The table of an uninterrupted run, and its points."""
    out = tmp_path_factory.mktemp("matched") / "pairs"
    straight = warm.run(matching(out))
    assert straight.code == 0, straight.errors
    return everything(out), straight.points


@pytest.fixture(scope="module")
def trained(warm: Warm, training: Command, scenes: Path) -> tuple[dict[str, Any], list[str]]:
    """The outcome of an uninterrupted run, and its points."""
    straight = warm.run(training(scenes.parent / "straight"))
    assert straight.code == 0, straight.errors
    return outcome(scenes.parent / "straight"), straight.points


# Kills


def test_a_table_is_the_same_wherever_matching_was_killed(
    warm: Warm, matching: Command, matched: tuple[dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    expected, points = matched
    for at in chosen(points):
        command = matching(tmp_path / f"killed-{at}")
        assert warm.run(command, at, sent(signal.SIGKILL)).code == -signal.SIGKILL
        again = warm.run(command)
        assert again.code == 0, again.errors
        assert everything(tmp_path / f"killed-{at}") == expected, points[at]


def test_weights_are_the_same_bit_for_bit_wherever_training_was_killed(
    warm: Warm, training: Command, trained: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    expected, points = trained
    for at in chosen(points):
        command = training(tmp_path / f"killed-{at}")
        assert warm.run(command, at, sent(signal.SIGKILL)).code == -signal.SIGKILL
        again = warm.run([*command, "--resume"])
        assert again.code == 0, again.errors
        assert outcome(tmp_path / f"killed-{at}") == expected, points[at]


def test_a_run_may_be_killed_over_and_over(
    warm: Warm, training: Command, trained: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    expected, points = trained
    command, kills = [*training(tmp_path / "run"), "--resume"], 0
    while (ended := warm.run(command, 4 * len(points) // 7, sent(signal.SIGKILL))).code == -signal.SIGKILL:
        kills += 1
        assert kills < 9
    assert (ended.code, kills > 0) == (0, True), ended.errors
    assert outcome(tmp_path / "run") == expected


# Signals


def test_a_signal_stops_matching_and_the_printed_command_continues(
    warm: Warm, matching: Command, matched: tuple[dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    expected, points = matched
    for at, number in zip(evenly(range(len(points)), 4), 2 * STOPS, strict=True):
        stopped = warm.run(matching(tmp_path / f"{at}"), at, sent(number))
        assert stopped.code == 128 + number, stopped.errors
        assert warm.run(printed(stopped.message)).code == 0
        assert everything(tmp_path / f"{at}") == expected, points[at]


def test_a_signal_stops_training_behind_the_step_and_the_printed_command_continues(
    warm: Warm, training: Command, trained: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    expected, points = trained
    for at, number in zip(evenly(range(len(points)), 4), 2 * STOPS, strict=True):
        out = tmp_path / f"{at}"
        stopped = warm.run(training(out), at, sent(number))
        assert stopped.code == 128 + number, stopped.errors
        begun = without_times((out / "history.jsonl").read_bytes()) if (out / "history.jsonl").exists() else []
        steps = {int(path.name.split("-")[1]) for path in (out / "checkpoints").glob("*")}
        assert max(steps, default=0) >= max((row["step"] for row in begun), default=0)
        continuing = printed(stopped.message)
        assert continuing[-1] == "--resume"
        assert warm.run(continuing).code == 0
        assert outcome(out) == expected, points[at]


def test_a_second_signal_ends_at_once(
    warm: Warm, training: Command, trained: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    def twice() -> None:
        sent(signal.SIGTERM)()
        sent(signal.SIGINT)()

    amid_saving = trained[1].index("amid torch.save")
    assert warm.run(training(tmp_path / "run"), amid_saving, twice).code == -signal.SIGINT


def terminated(command: Sequence[object], begun: Callable[[], bool]) -> Ended:
    """Start the real command and send it SIGTERM as soon as it has begun."""
    alone = {"HF_HUB_OFFLINE": "1"}
    line = [sys.executable, "-m", "fastgoal", *map(str, command)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env={**os.environ, **alone}) as process:
        while process.poll() is None and not begun():
            time.sleep(0.002)
        process.terminate()
        _, errors = process.communicate()
    return Ended(code=process.returncode, errors=errors, points=[])


def test_sigterm_to_the_real_match(warm: Warm, matching: Command, scenes: Path, tmp_path: Path) -> None:
    captions, out = tmp_path / "many.jsonl", tmp_path / "pairs"
    rows = [json.loads(line) for line in (scenes / "train" / "captions.jsonl").read_text().splitlines()]
    captions.write_text("".join(json.dumps(row | {"id": f"{row['id']}-{i}"}) + "\n" for i in range(8) for row in rows))
    command = ["match", captions, "--root", scenes / "train", *matching(out)[2:]]
    stopped = terminated(command, (out / "manifest.json").exists)
    assert stopped.code == 143, stopped.errors
    assert printed(stopped.message) == list(map(str, command))
    assert warm.run(printed(stopped.message)).code == 0
    assert warm.run([tmp_path / "straight" if part == out else part for part in command]).code == 0
    assert everything(out) == everything(tmp_path / "straight")


def test_sigterm_to_the_real_train(warm: Warm, training: Command, tmp_path: Path) -> None:
    """At most the step that it hits is lost, however rare checkpoints are."""
    longer = {"max_steps": 16, "save_every": 100, "eval_every": 100, "log_every": 1}
    command = training(tmp_path / "run", **longer)
    history = tmp_path / "run" / "history.jsonl"
    stopped = terminated(command, lambda: history.exists() and '"step": 1,' in history.read_text())
    assert stopped.code == 143, stopped.errors
    last = json.loads(history.read_text().splitlines()[-1])["step"]
    assert 1 <= last < 16
    assert (tmp_path / "run" / "checkpoints" / f"checkpoint-{last}").is_dir()
    assert printed(stopped.message) == [*map(str, command), "--resume"]
    assert warm.run(printed(stopped.message)).code == 0
    assert warm.run(training(tmp_path / "straight", **longer)).code == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "straight")


# Refusals


def test_a_full_disk_is_one_line_and_matching_goes_on_when_there_is_room(
    warm: Warm, matching: Command, matched: tuple[dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    expected, points = matched
    for at in refusable(points, 3):
        check_refusal(warm.run(matching(tmp_path / f"{at}"), at, refuse), tmp_path / f"{at}")
        assert warm.run(matching(tmp_path / f"{at}")).code == 0
        assert everything(tmp_path / f"{at}") == expected, points[at]
    check_refusal(warm.run(matching(tmp_path / "limit"), limit=2500), tmp_path / "limit")
    assert warm.run(matching(tmp_path / "limit")).code == 0
    assert everything(tmp_path / "limit") == expected


def test_a_full_disk_is_one_line_and_training_goes_on_when_there_is_room(
    warm: Warm, training: Command, trained: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    expected, points = trained
    for at in {*refusable(points, 3), points.index("before append")}:
        check_refusal(warm.run(training(tmp_path / f"{at}"), at, refuse), tmp_path / f"{at}")
        assert warm.run([*training(tmp_path / f"{at}"), "--resume"]).code == 0
        assert outcome(tmp_path / f"{at}") == expected, points[at]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt"])
def test_weights_that_do_not_fit_on_the_disk(
    warm: Warm, training: Command, trained: tuple[dict[str, Any], list[str]], scenes: Path, tmp_path: Path, file: str
) -> None:
    size = (scenes.parent / "straight" / "checkpoints" / "checkpoint-4" / file).stat().st_size
    check_refusal(warm.run(training(tmp_path / "run"), limit=size - 1), tmp_path / "run")
    assert warm.run([*training(tmp_path / "run"), "--resume"]).code == 0
    assert outcome(tmp_path / "run") == trained[0]


def test_pictures_that_do_not_fit_on_the_disk(warm: Warm, tmp_path: Path) -> None:
    def draw(out: Path) -> list[object]:
        return ["scenes", out, "--train", 3, "--val", 0, "--test", 0]

    assert warm.run(draw(tmp_path / "straight")).code == 0
    check_refusal(warm.run(draw(tmp_path / "full"), limit=3000), tmp_path / "full")
    assert warm.run(draw(tmp_path / "full")).code == 0
    assert everything(tmp_path / "full") == everything(tmp_path / "straight")


def test_a_result_that_does_not_fit_on_the_disk_was_printed(warm: Warm, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    check_refusal(warm.run(["eval", "tiny", scenes / "val", "--json", out], 1, refuse), out)
    assert "long-retrieval: 5 items" in warm.output.read_text()
    assert not out.exists()


def test_a_run_that_does_not_fit_on_the_disk(warm: Warm, scenes: Path, tmp_path: Path) -> None:
    command = ["run", scenes / "test", "--model", "tiny", "--out", tmp_path / "run", "--regions", "fixed"]
    check_refusal(warm.run(command, limit=3000), tmp_path / "run")


@pytest.mark.parametrize("command", ["match", "train", "scenes", "eval", "run", "stretch"])
def test_a_folder_that_cannot_be_made(
    warm: Warm, matching: Command, training: Command, scenes: Path, tmp_path: Path, command: str
) -> None:
    """Below a file there are no folders, not even for root."""
    (tmp_path / "file").write_text("precious")
    out = tmp_path / "file" / "out"
    commands: dict[str, list[object]] = {
        "match": matching(out),
        "train": training(out),
        "scenes": ["scenes", out, "--train", 2],
        "eval": ["eval", "tiny", scenes / "val", "--json", out / "result.json"],
        "run": ["run", scenes / "test", "--model", "tiny", "--out", out],
        "stretch": ["stretch", "tiny", out],
    }
    check_refusal(warm.run(commands[command]), out)
    assert (tmp_path / "file").read_text() == "precious"
