"""A program that does what none of ours may: it writes in place, half by half, and goes on behind what it finds.

python careless.py OUT     writes OUT/table.json, and OUT/scratch.tmp, which it forgets
"""

import sys
import time
from pathlib import Path

out = Path(sys.argv[1])
out.mkdir(exist_ok=True)
(out / "scratch.tmp").write_text("forgotten")
table = out / "table.json"
if not table.exists():
    time.sleep(0.1)
    with table.open("a") as file:
        file.write("[1, ")
        file.flush()
        time.sleep(1)
        file.write("2]")
