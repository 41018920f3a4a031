"""The command line: parse, call, print.

Commands live in one module each and are imported when they are called, so that `fastgoal --help` answers at once. What
bad input causes is printed as one line; a traceback means a defect of ours, or `--debug`.

Exit codes: 0 done; 1 the data cannot be trained on (`check`); 2 bad input or settings; 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from fastgoal.errors import FastgoalError

HELP = """Teach CLIP-like models to understand long captions, from your own images and paragraphs.

       Begin with `fastgoal demo`, which tells the whole story on built-in data, or with `fastgoal run DATA --model M
       --out DIR` on yours. A model M is a local folder, a hub id, or `tiny` (bundled)."""

COMMANDS = {
    "demo": "The whole story on built-in data, offline: scenes, matching, fine-tuning, evaluation, report.",
    "run": "The same on your data: split, match, train, evaluate, report.",
    "scenes": "Draw the built-in data set: pictures with long captions and true boxes.",
    "match": "Find which sentence of each caption says what about which region of its image.",
    "train": "Fine-tune a model on matched pairs.",
    "eval": "Evaluate a model by a named protocol.",
    "report": "Make the report page again from a finished demo or run.",
    "stretch": "Give a model more text positions, as Long-CLIP does.",
}

app = App(name="fastgoal", help=HELP, help_format="markdown", version_flags=["--version"])
for _name, _help in COMMANDS.items():
    app.command(f"fastgoal.cli.{_name}:{_name if _name != 'eval' else 'evaluate'}", name=_name, help=_help)


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command; never raises for bad input."""
    arguments = list(sys.argv[1:] if tokens is None else tokens)
    debug = "--debug" in arguments
    sys.exit(_run([token for token in arguments if token != "--debug"], debug))


def _run(tokens: list[str], debug: bool) -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app(tokens, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2  # printed by cyclopts, with its suggestion
    except FastgoalError as error:
        if debug:
            raise
        print(f"fastgoal: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fastgoal: interrupted. What was finished is kept; the same command continues.", file=sys.stderr)
        return 130
    return 0
