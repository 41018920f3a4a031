"""Matching: which sentence of a caption says what about which region of its image.

    samples -> candidate regions, sentences -> embeddings -> cosine similarities -> local pairs -> pairs table

`candidates` embeds regions, `rules` chooses pairs, `matcher` does both for the samples of a shard, `match` fills a
table with its shards, `judge` says how good they are; `unmatched` makes a table without any pairs.
"""

from fastgoal.matching.candidates import Embed
from fastgoal.matching.fingerprint import fingerprint
from fastgoal.matching.judge import MatchReport, precision, summarise
from fastgoal.matching.match import match
from fastgoal.matching.matcher import Engine, Matched, Matcher, Shards, here, match_samples
from fastgoal.matching.rules import Rule, select_pairs, usual_rule
from fastgoal.matching.settings import MatchSettings
from fastgoal.matching.unmatched import tabulate

__all__ = [
    "Embed",
    "Engine",
    "MatchReport",
    "MatchSettings",
    "Matched",
    "Matcher",
    "Rule",
    "Shards",
    "fingerprint",
    "here",
    "match",
    "match_samples",
    "precision",
    "select_pairs",
    "summarise",
    "tabulate",
    "usual_rule",
]
