"""fastgoal: teach CLIP-like models to understand long, detailed captions.

The public names are imported when they are first used, so that `import fastgoal` costs nothing.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "DualEncoder": "fastgoal.models.dual_encoder",
    "FastgoalError": "fastgoal.errors",
    "MatchSettings": "fastgoal.matching",
    "Model": "fastgoal.model",
    "PairsTable": "fastgoal.pairs",
    "Searcher": "fastgoal.search.searcher",
    "TrainConfig": "fastgoal.training",
    "evaluate_classification": "fastgoal.evaluation",
    "evaluate_joint": "fastgoal.evaluation",
    "evaluate_localisation": "fastgoal.evaluation",
    "evaluate_retrieval": "fastgoal.evaluation",
    "evaluate_robustness": "fastgoal.evaluation",
    "index": "fastgoal.search.build",
    "load": "fastgoal.model",
    "make_proposer": "fastgoal.regions",
    "match": "fastgoal.matching",
    "open_labelled": "fastgoal.data.labelled",
    "open_pictures": "fastgoal.captioning.pictures",
    "open_source": "fastgoal.data.source",
    "retention": "fastgoal.evaluation",
    "split_sentences": "fastgoal.data.sentences",
    "train": "fastgoal.training",
    "write_scenes": "fastgoal.data.scenes",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'fastgoal' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
