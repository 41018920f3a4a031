"""Candidate phrases of a caption: what an open-vocabulary detector is asked to look for.

The one idea: a phrase is a maximal run of content words, so function words and punctuation are its borders. "A small
blue box stands next to a green lamp" gives "small blue box" and "green lamp". No tagger and no model; a verb that is
not in the list stays in its run, which costs the detector little. The list is English: with another language, whole
clauses come out.
"""

import hashlib
import re

_LONGEST = 6
"""Words per phrase; of a longer run the last ones stay, as English puts the thing itself last."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_ENGLISH = """
a an the this that these those some any each every either neither both all several few many much more most other
another such no not only own same so too very just also even still yet quite rather almost about i you he she it we
they me him her us them my your his its our their mine yours hers ours theirs who whom whose which what where when
why how there here itself himself herself themselves something someone anything nothing and or but nor for if
because while although though as than whether since until unless of in on at by to from with without within into
onto over under above below between among across through during before after behind beside besides beyond near next
along around against toward towards upon off out up down inside outside underneath beneath amid amidst throughout
per via like unlike except opposite apart away is are was were be been being am has have had having do does did
doing can could may might must shall should will would seems seem seemed appears appear appeared becomes become
stands stand standing sits sit sitting lies lie lying rests rest resting hangs hang hanging leans lean leaning shows
show showing shown depicts depict depicting depicted features feature featuring featured contains contain containing
includes include including consists consist seen visible located situated placed positioned set looks look looking
faces facing holds hold holding wears wear wearing wearing makes make made gives give takes take fills fill filled
covers cover covered surrounds surround surrounded surrounding left right top bottom middle center centre side front
back edge corner foreground background part area image photo photograph picture view scene upper lower
"""
_FUNCTION_WORDS = frozenset(_ENGLISH.split())
LIST = hashlib.sha256(" ".join(sorted(_FUNCTION_WORDS)).encode()).hexdigest()[:16]
"""What the phrases depend on beside the caption, for fingerprints."""


def candidate_phrases(caption: str, most: int) -> list[str]:
    """Runs of content words in the order of the caption, lower case, each once, at most `most`.

    A run needs a word that begins with two letters: numbers, units and initials are nothing to look for.
    """
    runs: list[list[str]] = []
    end, open_run = 0, False
    for match in _WORD.finditer(caption):
        word, gap = match.group().lower(), caption[end : match.start()]
        end = match.end()
        if word in _FUNCTION_WORDS:
            open_run = False
        elif open_run and gap.isspace():
            runs[-1].append(word)
        else:
            runs.append([word])
            open_run = True
    phrases = (" ".join(run[-_LONGEST:]) for run in runs)
    named = (phrase for phrase in phrases if any(len(w) > 1 and w[:2].isalpha() for w in re.split(r"[\s-]", phrase)))
    return list(dict.fromkeys(named))[:most]
