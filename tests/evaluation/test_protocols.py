"""A protocol refuses what would make its name a lie."""

from dataclasses import replace

import pytest

from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol, protocol_named, protocol_of


def test_built_in_protocols_fit_any_model(encoder):
    for protocol in PROTOCOLS.values():
        if protocol.data is None:
            protocol.expect(protocol.task, encoder)
            protocol.expect_items(3)


PINNED = {
    "docci-test": ("docci/test", 5100, 1, 248, (1, 5, 25, 50)),
    "dci-test": ("dci/test", 1999, 1, 248, (1, 5, 25, 50)),
    "long-dci": ("long-dci/test", 7602, 1, 248, (1, 5, 25, 50)),
    "urban1k": ("urban1k/test", 1000, 1, 248, (1, 5, 25, 50)),
    "sharegpt4v-1k": ("sharegpt4v/test", 1000, 1, 248, (1, 5, 25, 50)),
    "coco-5k": ("coco/test", 5000, 5, None, (1, 5, 10, 15)),
    "flickr30k-1k": ("flickr30k/test", 1000, 5, None, (1, 5, 10, 15)),
    "docci-sentence-average": ("docci/test", 5100, 1, 77, (1, 5, 25, 50)),
    "long-dci-sentence-average": ("long-dci/test", 7602, 1, 77, (1, 5, 25, 50)),
    "docci-patches": ("docci/test", None, None, 248, (5, 10, 15)),
    "docci-joint": ("docci/test", 5100, None, 248, (10,)),
    "dci-joint": ("dci/test", 1999, None, 248, (10,)),
}


def test_the_benchmarks_are_pinned_as_the_papers_say():
    found = {
        own.name: (own.data, own.items, own.captions, own.text_tokens, own.ks) for own in PROTOCOLS.values() if own.data
    }
    assert found == PINNED
    for name, (data, *_) in PINNED.items():
        if not name.endswith("-average"):  # these are named, not meant by their data
            assert protocol_of(data, PROTOCOLS[name].task) == PROTOCOLS[name]
    assert protocol_of("docci/train", "retrieval") is None
    assert protocol_of("coco/test", "joint") is None


def test_five_captions_belong_to_an_image():
    pinned = PROTOCOLS["coco-5k"]
    pinned.expect_items(5000, 25000)
    with pytest.raises(DataError, match="25,000 captions expected, but the data has 25,010"):
        pinned.expect_items(5000, 25010)
    with pytest.raises(DataError, match="25,000 captions expected, but the data has 24,995"):
        pinned.expect_items(5000, 24995)
    assert pinned.falls_short(5000, 24995) and not pinned.falls_short(5000, 25000)


def test_a_part_has_to_be_asked_for_and_is_never_more():
    pinned = PROTOCOLS["docci-test"]
    with pytest.raises(DataError, match=r"5,100 items expected, but the data has 5,000.*--allow-partial"):
        pinned.expect_items(5000, 5000)
    partial = replace(pinned, partial=True)
    partial.expect_items(5000, 5000)
    with pytest.raises(DataError, match=r"has 5,200\. Use the protocol's own test set, or another protocol\.$"):
        partial.expect_items(5200, 5200)
    with pytest.raises(DataError, match="nothing to evaluate"):
        partial.expect_items(0, 0)


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
