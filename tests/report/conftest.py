"""The made-up report of `sample.py`, for the tests beside it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from fastgoal.report.input import ReportInput


@pytest.fixture(scope="session")
def sample() -> Callable[..., ReportInput]:
    """`sample(**changes)` -> the full made-up report with some fields replaced."""
    spec = importlib.util.spec_from_file_location("report_sample", Path(__file__).with_name("sample.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.sample
