import pytest

from fastgoal.checking.findings import NAMED, Tally, finding, kind_of
from fastgoal.errors import DataError


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("id 'a (1)' is used a second time (first: a.jsonl:3)", "id ... is used a second time"),
        ("box [1, 2.5, -3, 4] has no area", "box ... has no area"),
        ("the image is too large (12000 x 12000 pixels)", "the image is too large"),
        ("not UTF-8 at byte 17", "not UTF-... at byte ..."),
        ("caption is empty", "caption is empty"),
    ],
)
def test_a_kind_has_no_particulars(what, kind):
    assert kind_of(what) == kind


def test_every_trouble_is_counted_and_the_first_are_kept():
    tally = Tally()
    for row in range(NAMED + 30):
        tally.add("left out", DataError(f"not JSON at column {row}", where=row))
    tally.add("look", DataError("odd"))
    first, second = tally.findings()
    assert (first.kind, first.count, len(first.examples)) == ("not JSON at column ...", NAMED + 30, NAMED)
    assert [error.where for error in first.examples] == [str(row) for row in range(NAMED)]
    assert (second.kind, second.count) == ("odd", 1)
    assert finding("look", "nothing", 0, []) == ()
