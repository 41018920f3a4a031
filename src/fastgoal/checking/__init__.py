"""Looking over data before anything is trained on it: what it is, what is broken or odd, and the mend.

`audit` passes over the data, `compare` looks for what two splits share, `tell` says it in words, `write_fix` writes
the clean table and `draw_examples` a picture of a few samples.
"""

from fastgoal.checking.audit import Audit, CheckSettings, audit
from fastgoal.checking.compare import compare
from fastgoal.checking.findings import Finding
from fastgoal.checking.fix import FixReport, write_fix
from fastgoal.checking.picture import draw_examples
from fastgoal.checking.verdict import Verdict, tell

__all__ = [
    "Audit",
    "CheckSettings",
    "Finding",
    "FixReport",
    "Verdict",
    "audit",
    "compare",
    "draw_examples",
    "tell",
    "write_fix",
]
