"""Which images and captions of one data set are equal or alike, as findings that name both."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from fastgoal.checking.alike import Places, alike, repeats
from fastgoal.checking.findings import NAMED, Finding, Weight, finding
from fastgoal.checking.ledger import FINE, Ledger
from fastgoal.checking.pictures import place_of
from fastgoal.data.samples import Sample
from fastgoal.data.source import Source
from fastgoal.errors import DataError

Pair = Callable[[Sample, Sample], DataError]
"""The error that says what a later sample shares with an earlier one."""


def twins(source: Source, ledger: Ledger) -> tuple[Finding, ...]:
    """Samples that are there twice: one caption on one image (by bytes, where it was opened)."""
    mend = "Keep one of the two; --fix keeps the first."
    say = partial(_same_image, "the same image and caption as", mend)
    return _found(source, "a sample is there twice", *ledger.twins(), say, weight="mended")


def equal_images(source: Source, ledger: Ledger) -> tuple[Finding, ...]:
    """Images with equal bytes under different names."""
    fine_K = np.flatnonzero(ledger.state_U == FINE)
    later_K, first_K = repeats(ledger.digest_U[fine_K])
    mend = "Keep one file, and name it in both rows; --fix drops the row if its caption is equal too."
    say = partial(_same_image, "the same bytes as", mend)
    images = fine_K[later_K], fine_K[first_K]
    return _found(source, "images with equal bytes under different names", *_samples(ledger, *images), say)


def alike_images(source: Source, ledger: Ledger) -> tuple[Finding, ...]:
    """Images that are not equal but look alike: scaled, recompressed, slightly cropped or retouched."""
    clear_K = clear_images(ledger)
    clear_K = np.delete(clear_K, repeats(ledger.digest_U[clear_K])[0])
    later_K, first_K = alike(ledger.shape_U[clear_K], ledger.colours_U[clear_K])
    mend = "Look at both; if it is one picture twice, keep the better one."
    say = partial(_same_image, "looks like", mend)
    return _found(source, "images that look alike", *_samples(ledger, clear_K[later_K], clear_K[first_K]), say)


def equal_captions(source: Source, ledger: Ledger) -> tuple[Finding, ...]:
    """One caption on different images (different bytes, where they were opened)."""
    later_K, first_K = repeats(ledger.caption_N)
    differ_K = ledger.picture_N[later_K] != ledger.picture_N[first_K]
    return _found(source, "one caption on different images", later_K[differ_K], first_K[differ_K], _same_caption)


def clear_images(ledger: Ledger) -> Places:
    """The images that have a shape to be compared by."""
    return np.flatnonzero((ledger.state_U == FINE) & ~ledger.plain_U)


def samples_at(source: Source, numbers: Iterable[int]) -> dict[int, Sample]:
    """The samples with these numbers; reads the source up to the last of them."""
    wanted = set(numbers)
    found: dict[int, Sample] = {}
    for number, sample in enumerate(source if wanted else ()):
        if number in wanted:
            found[number] = sample
        if len(found) == len(wanted):
            break
    return found


def _samples(ledger: Ledger, later_K: Places, first_K: Places) -> tuple[Places, Places]:
    return ledger.first_U[later_K], ledger.first_U[first_K]


def _found(
    source: Source, kind: str, later_K: Places, first_K: Places, say: Pair, weight: Weight = "look"
) -> tuple[Finding, ...]:
    """The finding about pairs of samples, with the first few of them named."""
    named = list(zip(later_K[:NAMED].tolist(), first_K[:NAMED].tolist(), strict=True))
    samples = samples_at(source, (number for pair in named for number in pair))
    return finding(weight, kind, len(later_K), (say(samples[later], samples[first]) for later, first in named))


def _same_image(how: str, mend: str, later: Sample, first: Sample) -> DataError:
    return DataError(f"{how} {first.image}", where=place_of(later), mend=mend)


def _same_caption(later: Sample, first: Sample) -> DataError:
    mend = "Say what tells the images apart; such pairs are never used as negatives of each other."
    return DataError(f"the same caption as {first.image}", where=place_of(later), mend=mend)
