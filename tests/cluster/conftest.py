"""Scenes, and one Ray for a module's tests on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgoal.cluster.session import import_ray
from fastgoal.data.scenes import ScenesConfig, write_scenes

os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray with two CPUs."""
    ray = import_ray()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 scenes to match, 20 to evaluate."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, ScenesConfig(train=60, val=0, test=20), progress=False)
    return folder
