"""What two splits of the same data share: figures measured on shared images mean nothing.

Shapes: A and B, images or samples of the first and of the second split; K found in both.
"""

import numpy as np

from fastgoal.checking.alike import Places, alike, shared
from fastgoal.checking.audit import Audit
from fastgoal.checking.findings import NAMED, Finding, finding
from fastgoal.checking.ledger import FINE
from fastgoal.checking.pictures import place_of
from fastgoal.checking.sameness import clear_images, samples_at
from fastgoal.errors import DataError


def compare(one: Audit, other: Audit) -> tuple[Finding, ...]:
    """Images of `other` that are, or look like, an image of `one`, and captions that both have."""
    name = one.source.name
    fine_A, fine_B = (np.flatnonzero(side.ledger.state_U == FINE) for side in (one, other))
    same_K, of_K = shared(other.ledger.digest_U[fine_B], one.ledger.digest_U[fine_A])
    first_A, first_B = one.ledger.first_U, other.ledger.first_U
    equal = _found(one, other, f"images that {name} has too", first_B[fine_B[same_K]], first_A[fine_A[of_K]])
    alike_B, alike_A = _alike(one, other, fine_B[same_K])
    near = _found(one, other, f"images that look like one of {name}", first_B[alike_B], first_A[alike_A])
    caption_B, caption_A = shared(other.ledger.caption_N, one.ledger.caption_N)
    captions = _found(one, other, f"captions that {name} has too", caption_B, caption_A)
    return equal + near + captions


def _alike(one: Audit, other: Audit, equal_B: Places) -> tuple[Places, Places]:
    """Images of `other`, but the equal ones, and the image of `one` that each looks like."""
    clear_A, clear_B = clear_images(one.ledger), np.setdiff1d(clear_images(other.ledger), equal_B)
    both = [(one.ledger, clear_A), (other.ledger, clear_B)]
    shape_N = np.concatenate([ledger.shape_U[places] for ledger, places in both])
    colours_N = np.concatenate([ledger.colours_U[places] for ledger, places in both])
    later_K, first_K = alike(shape_N, colours_N, np.arange(len(shape_N)) >= len(clear_A))
    return clear_B[later_K - len(clear_A)], clear_A[first_K]


def _found(one: Audit, other: Audit, kind: str, place_K: Places, twin_K: Places) -> tuple[Finding, ...]:
    named = list(zip(place_K[:NAMED].tolist(), twin_K[:NAMED].tolist(), strict=True))
    samples = samples_at(other.source, (place for place, _ in named))
    twins = samples_at(one.source, (twin for _, twin in named))
    mend = "Take it out of one of the two: what is trained on cannot measure."
    examples = (
        DataError(f"shared with {place_of(twins[twin])}", where=place_of(samples[place]), mend=mend)
        for place, twin in named
    )
    return finding("look", f"{other.source.name}: {kind}", len(place_K), examples)
