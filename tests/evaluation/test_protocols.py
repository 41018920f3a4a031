"""A protocol refuses what would make its name a lie."""

from dataclasses import replace

import pytest

from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol, protocol_named


def test_built_in_protocols_fit_any_model(encoder):
    for protocol in PROTOCOLS.values():
        protocol.expect(protocol.task, encoder)
        protocol.expect_items(3)


def test_the_wrong_model_or_task_is_named(encoder):
    pinned = replace(PROTOCOLS["long-retrieval"], name="docci-test", text_tokens=248)
    with pytest.raises(ConfigError, match=r"docci-test: texts of 248 tokens expected, but the model reads 77.*=248"):
        pinned.expect("retrieval", encoder)
    with pytest.raises(ConfigError, match="image fit"):
        replace(pinned, text_tokens=77, image_fit=replace(encoder.fit, mode="squash")).expect("retrieval", encoder)
    with pytest.raises(ConfigError, match=r"made for retrieval, not joint. Use 'joint'"):
        pinned.expect("joint", encoder)
    replace(pinned, text_tokens=77, image_fit=encoder.fit).expect("retrieval", encoder)


def test_the_wrong_number_of_items_is_named():
    with pytest.raises(DataError, match="1,999 items expected, but the data has 2,000"):
        replace(PROTOCOLS["joint"], items=1999).expect_items(2000)
    with pytest.raises(DataError, match=r"nothing to evaluate.*regions with a span"):
        PROTOCOLS["localisation"].expect_items(0)


def test_names():
    assert protocol_named("joint").ks == (10,)
    with pytest.raises(ConfigError, match="Did you mean 'long-retrieval'"):
        protocol_named("long-retreival")
    with pytest.raises(ConfigError, match="There are: long-retrieval"):
        protocol_named("x")
    with pytest.raises(ConfigError, match="cut-offs"):
        Protocol(name="empty", task="retrieval", ks=())
