"""How many images may be unreadable, by hand."""

import pytest

from fastgoal.errors import DataError
from fastgoal.training.left_out import LEAST, Count, LeftOut, merged, told


def broken(*names: str) -> list[LeftOut]:
    return [LeftOut(id=name, what="no image", where=f"{name}.png", mend="Mend it.") for name in names]


def test_few_among_many_are_counted_and_named() -> None:
    count = Count()
    for step in range(1, 9):
        count.add(broken("a") if step % 2 else broken(), 4 * step)
    count.add(broken("b", "c"), 40)
    assert (count.times, list(count.first)) == (6, ["a", "b", "c"])
    assert told(count).startswith("left out: images that cannot be read, of samples 'a' (no image), 'b' (no image)")


def test_the_first_one_alone_ends_nothing_but_all_of_several_do() -> None:
    """A rank may have a single sample of a batch."""
    count = Count()
    count.add(broken("a"), 0)
    with pytest.raises(DataError, match="2 of 2 images cannot be read"):
        count.add(broken("b"), 0)


def test_more_than_half_is_too_many_once_enough_were_looked_at() -> None:
    count = Count()
    count.add(broken(*"abcdef"), 1)
    count.add(broken("g"), LEAST - 8)
    with pytest.raises(DataError, match="9 of 17 images cannot be read"):
        count.add(broken("h", "i"), 8)


def test_the_counts_of_several_processes_are_one() -> None:
    one, other = Count(), Count()
    one.add(broken("a", "b"), 9)
    other.add(broken("b", "c"), 9)
    assert (merged([one, other]).times, list(merged([one, other]).first)) == (4, ["a", "b", "c"])
