"""What a captioner is asked: FAST-GOAL's list of what a long caption tells, in words of our own."""

from pathlib import Path

from fastgoal.errors import DataError

PROMPT = (
    "Describe this picture in one detailed paragraph. Tell only what can be seen in it: the objects and where in the "
    "picture each of them is, their colours and materials, what is happening, the surroundings, the people if there "
    "are any, the light, and every text that can be read. Guess nothing that the picture does not show."
)
"""FAST-GOAL (arXiv 2605.26615): describe the visible only, in one paragraph."""
_SUFFIXES = (".txt", ".md", ".prompt")


def read_prompt(given: str) -> str:
    """A prompt as it was given, or the text of the file that was named.

    Raises:
        DataError: a file that is not there, is no text, or is empty.
    """
    named = given.endswith(_SUFFIXES) and len(given.split()) == 1
    if not named and not _is_file(given):
        return given
    try:
        text = Path(given).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        mend = "Name a text file, or give the prompt itself."
        raise DataError(f"the prompt file cannot be read ({reason})", where=given, mend=mend) from None
    if not text:
        raise DataError("the prompt file is empty", where=given, mend="Write the prompt into it.")
    return text


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a path, as prompts are
        return False
