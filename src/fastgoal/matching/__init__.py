"""Matching: which sentence of a caption says what about which region of its image.

    samples -> candidate regions, sentences -> embeddings -> cosine similarities -> local pairs -> pairs table

`candidates` embeds regions, `rules` chooses pairs, `judge` says how good they are, `match` does the work on files;
`unmatched` writes a table without matching.
"""

from fastgoal.matching.candidates import Embed
from fastgoal.matching.judge import MatchReport, precision, summarise
from fastgoal.matching.match import MatchSettings, fingerprint, match
from fastgoal.matching.rules import Rule, select_pairs, usual_rule
from fastgoal.matching.unmatched import list_unmatched

__all__ = [
    "Embed",
    "MatchReport",
    "MatchSettings",
    "Rule",
    "fingerprint",
    "list_unmatched",
    "match",
    "precision",
    "select_pairs",
    "summarise",
    "usual_rule",
]
