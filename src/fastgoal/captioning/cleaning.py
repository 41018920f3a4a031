"""From what a model wrote to a caption: one line of text that repeats no prompt and ends with a sentence.

A caption that ran into the token limit ends in the middle of a sentence, which says something half or wrong about the
picture; such a tail is cut off where a whole sentence stands before it, and kept beside the caption.
"""

from dataclasses import dataclass

from fastgoal.checking.captions import CONTROL
from fastgoal.data.sentences import split_sentences

_ENDS = ".!?…。！？"
_CLOSING = "\"'”’»)]"
_LEAST = 12
"""Characters of a prompt's beginning that make an echo; shorter prompts may open a caption rightly."""


@dataclass(frozen=True, kw_only=True)
class CleanCaption:
    """A caption ("" if the model said nothing). dropped: the unfinished sentence that was cut off, "" if none.
    unfinished: it ends amid a sentence all the same, as it has no other."""

    text: str
    dropped: str = ""
    unfinished: bool = False


def clean_caption(written: str, *, prompt: str = "", full: bool = False, language: str = "en") -> CleanCaption:
    """Make a caption of what a model wrote.

    Args:
        prompt: what it was asked; if the answer begins with it, that goes.
        full: the answer was stopped by the token limit.
        language: of the captions, for finding sentences (ISO 639).
    """
    text = _without_echo(one_line(written), one_line(prompt))
    sentences = split_sentences(text, language)
    if not sentences:
        return CleanCaption(text="")
    last = text[sentences[-1][0] :]
    if not full or last.rstrip(_CLOSING).endswith(tuple(_ENDS)):
        return CleanCaption(text=text)
    if len(sentences) == 1:
        return CleanCaption(text=text, unfinished=True)
    return CleanCaption(text=text[: sentences[-2][1]], dropped=last)


def one_line(text: str) -> str:
    """Without control characters, with single spaces in the place of any white space."""
    return " ".join(CONTROL.sub(" ", text).split())


def _without_echo(text: str, prompt: str) -> str:
    if len(prompt) >= _LEAST and text.casefold().startswith(prompt.casefold()):
        return text[len(prompt) :].lstrip()
    return text
