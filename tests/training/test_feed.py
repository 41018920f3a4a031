"""Batches made ahead: in order, one ahead only, errors where they belong, and nothing made while something settles."""

import queue
import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from fastgoal.errors import DataError
from fastgoal.losses import METHODS
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training.batches import Batch, Collator, Views
from fastgoal.training.feed import Feed


@pytest.fixture
def batches(encoder: DualEncoder, write_table: Callable[..., PairsTable]) -> list[Batch]:
    table = write_table()
    collate = Collator.of(encoder, Views(table.images, encoder.fit, 0), METHODS["goal"])
    return [collate([table[i], table[i + 1]]) for i in range(5)]


def counted(batches: list[Batch], made: list[int]) -> Iterator[Batch]:
    for number, batch in enumerate(batches):
        made.append(number)
        yield batch


def test_all_come_in_order_and_the_last_take_has_what_is_left(batches: list[Batch]) -> None:
    feed, source = Feed(torch.device("cpu")), iter(batches)
    taken = [feed.take(source, 2) for _ in range(4)]
    assert [[batch.ids for batch in some] for some in taken] == [
        [batch.ids for batch in some] for some in (batches[:2], batches[2:4], batches[4:], [])
    ]


def test_one_batch_is_made_ahead_by_another_thread_and_no_more(batches: list[Batch]) -> None:
    feed, made, threads = Feed(None), [], set()

    def source() -> Iterator[Batch]:
        for batch in counted(batches, made):
            threads.add(threading.get_ident())
            yield batch

    coming = source()
    feed.take(coming, 1)
    feed.settle()
    assert made == [0, 1]
    feed.take(coming, 2)
    feed.settle()
    assert made == [0, 1, 2, 3]
    assert threads and threading.get_ident() not in threads


def test_a_new_epoch_is_another_iterator(batches: list[Batch]) -> None:
    feed, first, second = Feed(None), iter(batches), iter(batches[3:])
    feed.take(first, 2)
    assert [batch.ids for batch in feed.take(second, 5)] == [batch.ids for batch in batches[3:]]


def test_an_error_comes_where_its_batch_would(batches: list[Batch]) -> None:
    def source() -> Iterator[Batch]:
        yield batches[0]
        raise DataError("the image cannot be decoded", where="a.jpg")

    feed, coming = Feed(None), source()
    assert feed.take(coming, 1)[0].ids == batches[0].ids
    with pytest.raises(DataError, match=r"a\.jpg"):
        feed.take(coming, 1)


def test_waiting_is_counted_and_use_is_not(batches: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    now, may_go_on = [0.0], threading.Event()
    monkeypatch.setattr("fastgoal.training.feed.time.perf_counter", lambda: now[0])

    def slow(until: int) -> Iterator[Batch]:
        """A second a batch, by a clock that stands still otherwise; the batch `until` is made when it may be."""
        for number, batch in enumerate(batches):
            if number == until:
                may_go_on.wait()
            now[0] += 1
            yield batch

    hungry, patient = Feed(None), Feed(None)
    hungry.take(slow(4), 4)
    assert hungry.waited == 4
    coming = slow(2)
    patient.take(coming, 1)
    patient.settle()  # a step that is longer than making a batch
    before = patient.waited
    patient.take(coming, 1)
    assert patient.waited == before
    may_go_on.set()


def test_a_batch_that_does_not_come_is_told_of_while_it_is_waited_for(batches: list[Batch]) -> None:
    """The loader hangs until it has been told of twice."""
    said: queue.Queue[str] = queue.Queue()
    lines = []

    def hanging() -> Iterator[Batch]:
        yield batches[0]
        lines.extend(said.get(timeout=60) for _ in range(2))
        yield batches[1]

    feed, source = Feed(None, awaited=lambda: "the batch of step 2", after=0.01, say=said.put), hanging()
    taken = feed.take(source, 1) + feed.take(source, 1)
    assert [batch.ids for batch in taken] == [batch.ids for batch in batches[:2]]
    assert lines == ["waiting for data for 0 s (the batch of step 2)"] * 2


def test_every_tensor_of_a_batch_moves(batches: list[Batch]) -> None:
    moved = batches[0].to("meta")
    assert {tensor.device.type for tensor in moved.tensors()} == {"meta"}
    names = {name for name, value in vars(moved).items() if isinstance(value, torch.Tensor)}
    assert len(moved.tensors()) == len(names) + 4  # ids and mask of captions and sentences
