"""Sentences: half-open character spans of a caption, never copies of its text.

sentencex gives the boundaries (it knows that "3.5 m" and "St. John" do not end a sentence, for some 300 languages, in
microseconds); here they are trimmed to the sentence's own characters, and pieces that say nothing ("-", "...") dropped.
Source: https://github.com/wikimedia/sentencex
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import sentencex

from fastgoal.data.samples import Sample, Span
from fastgoal.data.source import Source


def split_sentences(caption: str, language: str = "en") -> list[Span]:
    """The sentences of a caption in order, as code-point spans without outer white space.

    Args:
        caption: any text; line breaks, emoji and combining characters keep their positions.
        language: ISO 639 code; an unknown one falls back to sentencex's general rules.
    """
    boundaries = sentencex.get_sentence_boundaries(language, caption)
    spans = (_trim(caption, boundary["start_index"], boundary["end_index"]) for boundary in boundaries)
    return [span for span in spans if any(character.isalnum() for character in caption[slice(*span)])]


@dataclass(frozen=True)
class _FirstSentences:
    source: Source
    language: str

    def __iter__(self) -> Iterator[Sample]:
        for sample in self.source:
            spans = split_sentences(sample.caption, self.language)
            if spans:
                yield replace(sample, caption=sample.caption[slice(*spans[0])], regions=())


def first_sentences(source: Source, language: str = "en") -> Source:
    """The same images with only the first sentence of each caption: short captions, where there are no others."""
    return Source(name=f"{source.name}, first sentences", root=source.root, entries=_FirstSentences(source, language))


def _trim(caption: str, start: int, end: int) -> Span:
    text = caption[start:end]
    return start + len(text) - len(text.lstrip()), start + len(text.rstrip())
