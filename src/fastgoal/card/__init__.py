"""The card of a data set: its statistics, as FAST-GOAL gives them for GLIT100k and more, and where it comes from."""

from fastgoal.card.facts import DataFacts, gather, measure_similarity
from fastgoal.card.markdown import Licences, data_card

__all__ = ["DataFacts", "Licences", "data_card", "gather", "measure_similarity"]
