"""The messy folder of `messy.py`, for the tests beside it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fastgoal.checking.captions import TextModel
from fastgoal.models.folder import read_tokenizer


@pytest.fixture(scope="session")
def truth() -> ModuleType:
    """The module: what is wrong with the folder, and how to make another."""
    spec = importlib.util.spec_from_file_location("messy_folder", Path(__file__).with_name("messy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def messy(truth, tmp_path_factory) -> Path:
    """Do not write into it."""
    return truth.make_messy(tmp_path_factory.mktemp("check") / "messy")


@pytest.fixture(scope="session")
def text_model() -> TextModel:
    tokenizer, limit = read_tokenizer("tiny")
    return TextModel(name="tiny", tokenizer=tokenizer, limit=limit)
