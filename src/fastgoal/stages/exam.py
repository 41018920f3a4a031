"""Every model under the same protocols on the same test data, and the differences between them.

The joint test set is made once: of true pairs where the data has true boxes, else of pairs that the base chose before
training, which favours the base. The images are decoded once for all models. A result that is on disk counts as done if
it is of the same weights, data and text limit.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastgoal.data.source import Source
from fastgoal.evaluation import (
    PROTOCOLS,
    EvalResult,
    JointSet,
    Protocol,
    ViewSet,
    compare,
    evaluate_joint,
    evaluate_localisation,
    evaluate_retrieval,
    located,
)
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.stages.kept import kept

BASE = "base"
FIGURES = {
    "long-retrieval": ("t2i R@1", "i2t R@1"),
    "joint": ("t2i mAP@10", "i2t mAP@10"),
    "localisation": ("t2i top-1",),
    "short-retrieval": ("t2i R@1", "i2t R@1"),
}
"""The figures by which models are compared, by protocol."""

Results = dict[str, dict[str, list[EvalResult]]]


class Exam:
    """The test set and the protocols it allows.

    Args:
        test: samples with long captions; with true boxes, localisation is measured as well.
        pairs: the joint test set.
        short: samples with short captions, or None.
        text_tokens: the text limit (None as in `TrainConfig`); a base with fewer is stretched, and also measured as it
            is.
    """

    def __init__(
        self, test: Source, pairs: PairsTable, short: Source | None, text_tokens: int | None, device: str
    ) -> None:
        self.test, self.pairs, self.short, self.text_tokens, self.device = test, pairs, short, text_tokens, device
        self._views: dict[str, ViewSet] = {}

    def sit(self, name: str, folders: Sequence[str], out: Path) -> Results:
        """Results of the models in `folders` (one per seed) by model name and protocol; kept under `out`."""
        results: Results = {name: {}}
        for number, folder in enumerate(folders):
            encoder = DualEncoder.load(folder, device=self.device)
            limit = encoder.limit_for(self.text_tokens)
            if name == BASE and encoder.text_limit < limit:
                cut = f"{BASE} cut at {encoder.text_limit}"
                results[cut] = {"long-retrieval": [self._take(cut, "long-retrieval", encoder, out / slug(cut))]}
            encoder.set_text_limit(limit)
            here = out / slug(f"{name} {number}" if len(folders) > 1 else name)
            for protocol in self._protocols(encoder):
                results[name].setdefault(protocol, []).append(self._take(name, protocol, encoder, here))
        return results

    def _protocols(self, encoder: DualEncoder) -> Iterator[str]:
        yield "long-retrieval"
        yield "joint"
        if encoder.traits.projects_parts and any(r.span for sample in self.test for r in sample.regions):
            yield "localisation"
        if self.short is not None:
            yield "short-retrieval"

    def _take(self, name: str, protocol: str, encoder: DualEncoder, folder: Path) -> EvalResult:
        encoder.name = name
        path, key = folder / f"{protocol}.json", self._key(protocol, encoder)
        return kept(path, key, lambda: self._evaluate(PROTOCOLS[protocol], encoder))

    def _key(self, protocol: str, encoder: DualEncoder) -> dict[str, Any]:
        """What a result depends on."""
        source = self.short if protocol == "short-retrieval" and self.short else self.test
        pairs = JointSet.of(self.pairs).fingerprint if protocol == "joint" else None
        return {"model": encoder.fingerprint, "text_tokens": encoder.text_limit, "data": source.key, "pairs": pairs}

    def _evaluate(self, protocol: Protocol, encoder: DualEncoder) -> EvalResult:
        fit, views = encoder.fit, self._views
        match protocol.name:
            case "joint":
                seen = views.setdefault("joint", JointSet.of(self.pairs).views(self.pairs, fit))
                return evaluate_joint(encoder, self.pairs, protocol=protocol, views=seen, allow_own_matcher=True)
            case "localisation":
                seen = views.setdefault("localisation", ViewSet.of(located(self.test), fit))
                return evaluate_localisation(encoder, self.test, protocol=protocol, views=seen)
            case _:
                source = self.short if protocol.name == "short-retrieval" and self.short else self.test
                seen = views.setdefault(protocol.name, ViewSet.of(source, fit))
                return evaluate_retrieval(encoder, source, protocol=protocol, views=seen)


def contrasts(results: Results) -> list[dict[str, Any]]:
    """Every trained model minus the base, and minus plain `global` fine-tuning, on every figure, query by query."""
    trained = [name for name in results if not name.startswith(BASE)]
    found = []
    for rival in [BASE] + ["global"] * ("global" in trained):
        for name in trained:
            if name == rival:
                continue
            for protocol, figures in FIGURES.items():
                if protocol in results[name] and protocol in results[rival]:
                    ours, theirs = results[name][protocol], results[rival][protocol]
                    found += [compare(ours, theirs, figure) for figure in figures]
    return found


def slug(name: str) -> str:
    """A model's name as that of a folder."""
    return name.replace(" ", "-")
