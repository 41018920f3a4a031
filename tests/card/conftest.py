"""The small captioner of captioning's tests."""

from pathlib import Path

import pytest
from tests.captioning.models import llava_next, save


@pytest.fixture(scope="session")
def captioner_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(llava_next, tmp_path_factory.mktemp("captioners") / "llava-next")
