"""The parts that need no web: filters, buckets, lanes, latency, pictures that are kept."""

import asyncio
import threading

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fastgoal.errors import ConfigError
from fastgoal.search.service.buckets import Buckets
from fastgoal.search.service.filters import Filters, quoted
from fastgoal.search.service.lanes import BusyError, Lane
from fastgoal.search.service.latency import KEPT, Latency
from fastgoal.search.service.pictures import Pictures, as_jpeg
from fastgoal.search.service.settings import Limits, is_loopback

CAPTIONS = (
    "a 'red' ball",
    "100% blue",
    "back\\slash",
    "UPPER Ärger",
    "semi; DROP",
    "new\nline",
    'say "x"',
    "a_b",
    "--c",
)
PIECES = (
    "'",
    "''",
    "%",
    "_",
    "\\",
    "\\'",
    "ärger",
    "upper",
    "; DROP",
    "\n",
    '"x"',
    "--",
    "' OR '1'='1",
    "*",
    "🎈",
    "\x00",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rows = {"id": [f"{i}'s" for i in range(len(CAPTIONS) + 1)], "caption": [*CAPTIONS, None]}
    return lancedb.connect(tmp_path_factory.mktemp("quoted")).create_table("rows", pa.table(rows))


@pytest.mark.parametrize("piece", PIECES)
def test_any_piece_of_text_is_looked_for_as_it_is(table, piece):
    expected = sum(piece.lower() in caption.lower() for caption in CAPTIONS)
    assert table.count_rows(Filters(caption_contains=piece).condition()) == expected


def test_a_quoted_text_stays_one_literal(table):
    assert table.count_rows("id = " + quoted("3's")) == 1
    assert table.count_rows("id = " + quoted("x' OR '1'='1")) == 0


def test_filters_join_and_nothing_said_is_no_condition():
    assert Filters().condition() is None
    both = Filters(min_width=3, max_height=4, id_contains="a'b").condition()
    assert both == "width >= 3 AND height <= 4 AND contains(lower(id), lower('a''b'))"


def test_a_bucket_holds_a_burst_and_fills_at_its_rate():
    now = [0.0]
    buckets = Buckets(rate=2, burst=3, clock=lambda: now[0])
    assert [buckets.take("a", 1) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b", 1) == 0  # another client has its own
    now[0] = 0.5
    assert buckets.take("a", 1) == 0
    assert buckets.take("a", 0.1) == pytest.approx(0.05)
    now[0] = 1000
    assert [buckets.take("a", 1) for _ in range(4)] == [0, 0, 0, 0.5]  # never more than a burst


def test_a_household_of_ipv6_is_one_client_and_memory_is_bounded():
    buckets = Buckets(rate=1, burst=1, clock=lambda: 0)
    assert buckets.take("2001:db8::1", 1) == 0
    assert buckets.take("2001:db8::2", 1) > 0
    assert buckets.take("2001:db8:0:1::1", 1) == 0
    for i in range(20_000):
        buckets.take(f"10.0.{i // 256}.{i % 256}", 1)
    assert len(buckets._buckets) == 10_000


def test_a_lane_works_on_few_calls_lets_few_wait_and_turns_the_others_away():
    release, most, inside = threading.Event(), [0], [0]

    def work(value):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        release.wait(10)
        inside[0] -= 1
        return value

    async def main():
        lane = Lane(2, 3, "test")
        calls = [asyncio.ensure_future(lane.run(work, i)) for i in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await lane.run(work, 5)
        release.set()
        assert await asyncio.gather(*calls) == list(range(5))
        assert await lane.run(work, 6) == 6  # there is room again
        lane.close()

    asyncio.run(main())
    assert most[0] == 2


def test_a_failing_call_gives_its_place_back():
    async def main():
        lane = Lane(1, 0, "test")
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await lane.run(lambda: 1 / 0)
        lane.close()

    asyncio.run(main())


def test_quantiles_are_those_of_the_last_answers():
    latency = Latency()
    assert latency.quantiles().p50 is None
    values = np.random.default_rng(0).exponential(size=3 * KEPT)
    for value in values:
        latency.add(float(value))
    found = latency.quantiles()
    assert found.count == 3 * KEPT
    assert (found.p50, found.p95) == pytest.approx(tuple(np.percentile(values[-KEPT:], [50, 95])))


class _Counting:
    """A searcher as far as pictures need one, which counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def picture(self, id):
        self.asked.append(id)
        return Image.effect_noise((64, 64), 90).convert("RGB")


def test_pictures_are_kept_up_to_a_number_of_bytes():
    size = len(as_jpeg(Image.effect_noise((64, 64), 90).convert("RGB"), 384, 82))

    async def main():
        searcher, lane = _Counting(), Lane(1, 9, "test")
        pictures = Pictures(searcher, lane, kept_bytes=int(2.5 * size))
        for id in ("a", "b", "a", "c", "a", "b"):
            await pictures.get(id, "thumb")
        lane.close()
        return searcher.asked

    assert asyncio.run(main()) == ["a", "b", "c", "b"]


def test_two_who_want_the_same_picture_at_once_are_counted_once():
    async def main():
        searcher, lane = _Counting(), Lane(2, 9, "test")
        pictures = Pictures(searcher, lane)
        room = pictures._room
        made = await asyncio.gather(*(pictures.get("a", "thumb") for _ in range(4)))
        lane.close()
        return room - pictures._room, len(pictures._kept[("a", "thumb")].jpeg), len(made)

    taken, bytes_kept, answers = asyncio.run(main())
    assert taken == bytes_kept
    assert answers == 4


@pytest.mark.parametrize("field", ["upload_mib", "megapixels", "rate", "burst", "waiting"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_limits_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=f"--{field.replace('_', '-')}"):
        Limits(**{field: value})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_loopback_is_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_what_others_reach_is_no_loopback(host):
    assert not is_loopback(host)
