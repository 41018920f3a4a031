"""How to match."""

from dataclasses import dataclass
from typing import get_args

from fastgoal.errors import ConfigError
from fastgoal.matching.candidates import Embed
from fastgoal.matching.rules import Rule
from fastgoal.models.dual_encoder import DualEncoder


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """How to match.

    rule: `flism` (FAST-GOAL) chooses among the regions; `lism` (GOAL) has the whole image as one more candidate, and a
        sample whose best pair is with the whole image gets none; `true` chooses among the sentences and boxes that the
        data says belong together, an upper bound for any matcher.
    embed: `crops` encodes every candidate by itself; `dense` encodes the whole image once and reads each candidate out
        of its patches, for matchers that know where things are (docs/regions.md).
    language: of the captions, for cutting sentences (ISO 639).
    batch: crops (`dense`: images) or sentences per forward pass; None: 32 on a CPU, where small batches stay in its
        cache, else 256.
    images: images that the proposer sees at once.
    workers: threads that decode, propose and cut views while the matcher computes; 0 does all in turn.
    shard_rows: samples per shard: the most that a kill loses.
    overwrite: drop a table that is already in the folder.
    """

    rule: Rule = "flism"
    embed: Embed = "crops"
    language: str = "en"
    batch: int | None = None
    images: int = 16
    workers: int = 1
    shard_rows: int = 512
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ConfigError(f"unknown rule {self.rule!r}", where="rule", mend="Use flism, lism or true.")
        if self.embed not in get_args(Embed):
            raise ConfigError(f"unknown way {self.embed!r}", where="embed", mend="Use crops or dense.")
        for name, least in {"batch": 1, "images": 1, "workers": 0, "shard_rows": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{value} is too small", where=name, mend=f"Use at least {least}.")

    @property
    def decisive(self) -> dict[str, str]:
        """What the rows depend on. Crops go unsaid, as in tables from before there was another way."""
        dense = {"embed": self.embed} if self.embed == "dense" else {}
        return {"rule": self.rule, "language": self.language, **dense}

    def expect(self, encoder: DualEncoder) -> None:
        """Raises ConfigError where the matcher cannot do what is asked."""
        if self.embed == "dense" and not encoder.traits.projects_parts:
            what = f"{encoder.traits.title} has no projection for patches, so that it cannot match dense"
            raise ConfigError(what, where="embed", mend="Use crops (--embed crops), or a model of the CLIP family.")
