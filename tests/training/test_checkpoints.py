from pathlib import Path

from fastgoal.files import recover_folder, replace_folder
from fastgoal.training.checkpoints import SEAL, newest_complete, publish, step_of


def _written(folder: Path, step: int) -> Path:
    checkpoint = folder / "aside" / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(bytes(100 + step))
    (checkpoint / "trainer_state.json").write_text("{}")
    return checkpoint


def test_the_newest_by_number_and_only_so_many_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        publish(_written(tmp_path, step), tmp_path / "checkpoints", keep=2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["checkpoint-10", "checkpoint-100"]
    found = newest_complete(tmp_path / "checkpoints")
    assert found is not None
    assert step_of(found) == 100


def test_torn_checkpoints_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3, 4):
        publish(_written(tmp_path, step), folder, keep=9)
    (folder / "checkpoint-4" / SEAL).unlink()
    (folder / "checkpoint-3" / "model.safetensors").write_bytes(b"short")
    (folder / "checkpoint-2" / "trainer_state.json").unlink()
    assert newest_complete(folder) == folder / "checkpoint-1"
    (folder / "checkpoint-1" / SEAL).write_text('{"half": ')
    assert newest_complete(folder) is None
    assert newest_complete(tmp_path / "nowhere") is None


def test_a_checkpoint_of_the_same_step_replaces_the_old_one(tmp_path: Path) -> None:
    publish(_written(tmp_path, 5), tmp_path / "checkpoints", keep=1)
    second = _written(tmp_path, 5)
    (second / "more").write_text("x")
    publish(second, tmp_path / "checkpoints", keep=1)
    assert (tmp_path / "checkpoints" / "checkpoint-5" / "more").exists()


def test_replace_folder_leaves_nothing_beside(tmp_path: Path) -> None:
    for text in ("a", "b"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file").write_text(text)
        replace_folder(tmp_path / "new", tmp_path / "place")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert (tmp_path / "place" / "file").read_text() == "b"


def test_of_a_replacement_cut_short_one_folder_stays(tmp_path: Path) -> None:
    for name in ("a.old", "b.old", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    recover_folder(tmp_path / "a")
    recover_folder(tmp_path / "b")
    assert {path.name: (path / "file").read_text() for path in tmp_path.iterdir()} == {"a": "a.old", "b": "b"}
