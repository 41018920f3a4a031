"""What fine-tuning kept and what it cost: the same questions asked before and after.

Long captions can be learned at the price of short ones and of class names; so the figures of short retrieval and of
classification (of any protocol, in fact) are put side by side, each with the paired interval of its change.
"""

from collections.abc import Sequence
from typing import Any

from fastgoal.errors import DataError
from fastgoal.evaluation.results import EvalResult, compare


def retention(
    before: EvalResult | Sequence[EvalResult], after: EvalResult | Sequence[EvalResult], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Every figure of `after` minus that of `before`, query by query.

    Args:
        before, after: results of the two models, one for each protocol; those of one protocol are compared.
        seed: of the bootstrap.

    Returns: one entry for each figure, as `compare` gives it, with `before`, `after` (percent) and `kept` (`after` in
        percent of `before`; None where that is 0 or a change).

    Raises:
        DataError: a protocol in only one of them, or results of different data.
    """
    old, new = ({one.protocol: one for one in ([g] if isinstance(g, EvalResult) else g)} for g in (before, after))
    if old.keys() != new.keys():
        what = f"protocols {', '.join(old)} before and {', '.join(new)} after"
        raise DataError(what, mend="Evaluate both models under the same protocols.")
    return [
        _entry(old[protocol], new[protocol], way, key, seed)
        for protocol in old
        for way in ("t2i", "i2t")
        for key in getattr(old[protocol], way)
    ]


def _entry(before: EvalResult, after: EvalResult, way: str, key: str, seed: int) -> dict[str, Any]:
    was, is_now = getattr(before, way)[key], getattr(after, way).get(key)
    kept = None if was <= 0 or is_now is None or key.startswith("change") else 100 * is_now / was
    return compare(after, before, f"{way} {key}", seed=seed) | {"before": was, "after": is_now, "kept": kept}
