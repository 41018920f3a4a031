"""Re-ranking where there is nothing to re-rank with, or nothing to re-rank."""

from pathlib import Path

from tests.bad_input.cases import REFUSED, case, good

GROUP = "re-ranking"


@case(GROUP, "a model without a matching head", REFUSED, "CLIP has no matching head")
def _(folder: Path) -> list[str]:
    good(folder)
    return ["eval", "MODEL", "data", "--rerank", "128"]


@case(GROUP, "a negative number of candidates", REFUSED, "-1 candidates")
def _(folder: Path) -> list[str]:
    good(folder)
    return ["eval", "MODEL", "data", "--rerank", "-1"]


@case(GROUP, "re-ranking for another task", REFUSED, "nothing to do with --task robust")
def _(folder: Path) -> list[str]:
    good(folder)
    return ["eval", "MODEL", "data", "--task", "robust", "--rerank", "8"]
