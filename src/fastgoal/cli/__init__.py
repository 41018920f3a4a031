"""The command line: parse, call, print.

Commands live in one module each and are imported when they are called, so that `fastgoal --help` answers at once. What
bad input causes is printed as one line; a traceback means a defect of ours, or `--debug`.

Exit codes: 0 done; 1 the data cannot be trained on (`check`); 2 bad input or settings, or a disk that refuses; 130 and
143 interrupted by SIGINT and SIGTERM.
"""

import atexit
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict
from cyclopts.exceptions import CycloptsError

from fastgoal.errors import ConfigError, FastgoalError
from fastgoal.interrupts import Interrupted, Interrupts, leaving

HELP = """Teach CLIP-like models to understand long captions, from your own images and paragraphs.

       Begin with `fastgoal demo`, which tells the whole story on built-in data, or with `fastgoal run DATA --model M
       --out DIR` on yours. A model M is a local folder, a hub id, or `tiny` (bundled)."""

COMMANDS = {
    "demo": "The whole story on built-in data, offline: scenes, matching, fine-tuning, evaluation, report.",
    "run": "The same on your data: split, match, train, evaluate, report.",
    "scenes": "Draw the built-in data set: pictures with long captions and true boxes.",
    "caption": "Write a long caption for every image with a vision-language model.",
    "check": "What was understood of your data, what is broken, and the mend.",
    "match": "Find which sentence of each caption says what about which region of its image.",
    "card": "Write the card of a data set: its statistics, and where it comes from.",
    "train": "Fine-tune a model on matched pairs.",
    "eval": "Evaluate a model by a named protocol.",
    "explain": "Show what in an image each sentence means, and which words carry the match.",
    "recipes": "The rows of both papers' tables: list, show, or run one.",
    "index": "Embed images into an index to search in.",
    "search": "Find the images of an index that a paragraph, or another image, fits best.",
    "serve": "Serve an index: a page to search it, and a JSON API.",
    "report": "Make one report page from one or several finished demos and runs.",
    "stretch": "Give a model more text positions, as Long-CLIP does.",
    "convert": "Turn a checkpoint of OpenAI CLIP, Long-CLIP, GOAL or open_clip into a model folder.",
    "blend": "Mix the weights of a base and its fine-tuned model, and find how much of each is best.",
    "export": "Write a model for another library: ONNX, sentence-transformers, open_clip.",
    "bench": "Measure speed, memory and growth beside the obvious way, on this machine.",
}


def settings_from_file(command: App, names: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Where `--config FILE` was given, fills in the settings that were not given as flags."""
    given = next((a.tokens[0].value for a in arguments if "--config" in a.names and a.tokens), None)
    if given is not None:
        from fastgoal.training.config import TrainConfig, read_settings

        values = read_settings(given)
        TrainConfig.from_mapping(values, where=given)  # our messages name the file, the field and the mend
        Dict(dict(values), use_commands_as_keys=False)(command, names, arguments)


def build(asked: str | None = None) -> App:
    """The command line. The command that is `asked` for explains itself; of the others one line is enough, and free."""
    app = App(
        name="fastgoal",
        help=HELP,
        help_format="markdown",
        version_flags=["--version"],
        config=settings_from_file,
        suppress_keyboard_interrupt=False,  # we say how to continue
    )
    app.register_install_completion_command(help="Complete commands and options with the tab key (bash, zsh, fish).")
    for name, line in COMMANDS.items():
        function = "evaluate" if name == "eval" else name
        app.command(f"fastgoal.cli.{name}:{function}", name=name, help=None if name == asked else line)
    return app


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command; never raises for bad input."""
    arguments = list(sys.argv[1:] if tokens is None else tokens)
    debug = "--debug" in arguments
    code = _run([token for token in arguments if token != "--debug"], debug)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> None:
    """End a process that a launcher started, without taking the interpreter down: threads of torch's communication that
    are still at work there now and then abort, and the launcher would take a finished run for a failed one."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _run(tokens: list[str], debug: bool) -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        _expect_one_process(tokens)
        with Interrupts():
            with leaving(_interrupted(tokens)):
                _import(tokens[:1])
            done = build(tokens[0] if tokens else None)(
                tokens, exit_on_error=False, print_error=True, result_action="return_value"
            )
            sys.stdout.flush()
    except CycloptsError:
        return 2  # printed by cyclopts, with its suggestion
    except FastgoalError as error:
        if debug:
            raise
        print(f"fastgoal{_rank()}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that closing it does not fail once more
        return 0
    except Interrupted as signal:
        print(_interrupted(tokens), file=sys.stderr)
        return signal.code
    return done if isinstance(done, int) else 0


def _interrupted(tokens: Sequence[str]) -> str:
    return f"fastgoal{_rank()}: interrupted. What was finished is kept; {continuing(tokens)}"


def _import(command: Sequence[str]) -> None:
    """Import the module of the command, if it is one."""
    for name in command:
        if name in COMMANDS:
            import_module(f"fastgoal.cli.{name}")


def continuing(tokens: Sequence[str]) -> str:
    """How an interrupted command is continued: with `--resume` where there is a choice, and never over again."""
    if _several():
        return "continue with the same launch command and --resume"
    kept = [token for token in tokens if token.partition("=")[0] != "--overwrite"]
    resume = ["--resume"] if kept[:1] == ["train"] and "--resume" not in kept else []
    return f"continue with: {shlex.join(['fastgoal', *kept, *resume])}"


def _several() -> bool:
    """Whether a launcher of torch started this process beside others."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def _rank() -> str:
    return f" [rank {os.environ.get('RANK', '?')}]" if _several() else ""


def _expect_one_process(tokens: Sequence[str]) -> None:
    if _several() and tokens[:1] != ["train"]:
        mend = "Start it without torchrun or accelerate launch (or unset WORLD_SIZE)."
        raise ConfigError("only `train` runs in several processes", where=" ".join(tokens[:1]) or None, mend=mend)
