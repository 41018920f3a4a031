"""What a process of its own tells: its own memory, not that of the process that started it."""

import numpy as np
import pytest

from fastgoal.bench.alone import alone
from fastgoal.devices import peak_memory
from fastgoal.errors import FastgoalError


def held(mib: int) -> dict[str, float]:
    """To be called in a process of its own."""
    return {"held": float(np.ones(mib << 17).sum()) / 2**17}


def test_memory_is_that_of_the_process_alone():
    ours = np.ones(1 << 27)  # 1 GiB here must not show there
    here = peak_memory()
    few, many = (alone(f"{__name__}:held", mib=mib) for mib in (1, 301))
    assert here > 1200
    assert few["held"] == 1
    assert few["peak_mib"] < 1000
    assert many["peak_mib"] - few["peak_mib"] == pytest.approx(300, abs=15)
    assert many["libraries_mib"] == pytest.approx(few["libraries_mib"], abs=30)
    assert len(ours)


def test_a_failure_there_is_one_here():
    with pytest.raises(FastgoalError, match=r"a part of the benchmark failed: .*unexpected keyword"):
        alone(f"{__name__}:held", gib=1)
