"""Pictures, and a small LLaVA-NeXT to caption them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.captioning.models import llava_next, save

from fastgoal.captioning import Captioner


def draw(folder: Path, count: int = 5) -> Path:
    """Noise of several sizes, every second image in a folder below."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("below" if number % 2 else ".") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30 + 9 * number, 44, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="session")
def captioner_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do not write into it."""
    return save(llava_next, tmp_path_factory.mktemp("captioners") / "llava-next")


@pytest.fixture(scope="session")
def captioner(captioner_folder: Path) -> Captioner:
    return Captioner.load(captioner_folder)
