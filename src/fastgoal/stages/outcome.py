"""What an experiment found, published: `metrics.json`, the report page with examples, and the table for the
terminal."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from fastgoal.data.samples import Sample
from fastgoal.embed import embed_images, embed_texts
from fastgoal.evaluation import EvalResult, ViewSet
from fastgoal.geometry import iou_matrix
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow
from fastgoal.report import DataFacts, Hit, PairExample, ReportFiles, ReportInput, RetrievalExample, render
from fastgoal.stages.exam import BASE
from fastgoal.stages.experiment import Experiment, Record

SHOWN_PAIRS = 9
SHOWN_QUERIES = 4
SHOWN_HITS = 5
_SHARED_SETTINGS = (
    "epochs", "batch_size", "learning_rate", "schedule", "warmup_steps", "weight_decay", "text_tokens", "precision",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What a report says of itself: its title, the exact commands that made it, why the settings are what they are, and
    what is doubtful about them."""

    title: str
    commands: Sequence[str]
    reasons: Sequence[str] = ()
    doubts: Sequence[str] = ()


def publish(experiment: Experiment, record: Record, heading: Heading, out: Path) -> tuple[ReportInput, ReportFiles]:
    """Write `metrics.json`, `report.md` and `index.html` to `out`."""
    arm = experiment.arms[-1]
    settings = {name: getattr(arm.config, name) for name in _SHARED_SETTINGS}
    report = ReportInput(
        title=heading.title,
        models=list(record.results),
        results={
            model: {name: [result.to_json() for result in results] for name, results in protocols.items()}
            for model, protocols in record.results.items()
        },
        paired=record.paired,
        histories=record.histories,
        match=record.match,
        pairs=pair_examples(experiment, record),
        retrievals=retrieval_examples(experiment, record),
        data=_data_facts(experiment),
        commands=heading.commands,
        reasons=heading.reasons,
        doubts=[*heading.doubts, *forgotten(record)],
        versions={name: version(name) for name in ("fastgoal", "torch", "transformers", "numpy")}
        | {"python": platform.python_version()},
        hardware=_hardware(experiment.device),
        stages={name: round(seconds, 1) for name, seconds in record.seconds.items()},
        settings=settings | {"text_tokens": _text_limit(record), "seeds": list(experiment.seeds)},
    )
    return report, render(report, out)


def forgotten(record: Record) -> list[str]:
    """A sentence about the trained models that find images by short captions clearly worse than the base did."""
    worse = [
        f"'{found['a']}' ({found['difference']:+.1f} points R@1)"
        for found in record.paired
        if found["b"] == BASE and found["protocol"] == "short-retrieval" and found["metric"] == "t2i R@1"
        if found["ci95"][1] < 0
    ]
    mend = "Fewer epochs, a lower learning rate or `fastgoal blend` keep more of it."
    return [f"By short captions, images are found worse than by the base: {', '.join(worse)}. {mend}"] * bool(worse)


def _text_limit(record: Record) -> int:
    """What all models were measured at."""
    return record.results[BASE]["long-retrieval"][0].text_tokens


def _hardware(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def _data_facts(experiment: Experiment) -> DataFacts:
    tokenizer = DualEncoder.load(experiment.model).tokenizer
    captions = [sample.caption for source in (experiment.train, experiment.test) for sample in source]
    lengths = np.array([len(ids) for ids in tokenizer(captions).input_ids])
    return DataFacts(
        splits={"train": len(experiment.train), "val": len(experiment.val), "test": len(experiment.test)},
        tokens_mean=float(lengths.mean()),
        tokens_median=float(np.median(lengths)),
        tokens_max=int(lengths.max()),
        share_over_77=float((lengths > 77).mean()),
    )


def pair_examples(experiment: Experiment, record: Record) -> list[PairExample]:
    """Local pairs of the training table from the most to the least similar, evenly spaced, with the truth if known."""
    table = record.tables["train"]
    rows = sorted((row for row in table if row.pairs), key=lambda row: -row.pairs[0].similarity)
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(SHOWN_PAIRS, len(rows))).astype(int)] if rows else []
    samples = {sample.id: sample for sample in experiment.train}
    return [_pair_example(row, samples.get(row.id), table.images.open(row.image)) for row in chosen]


def _pair_example(row: PairsRow, sample: Sample | None, image: Path | bytes) -> PairExample:
    pair = row.pairs[0]
    region, (start, end) = row.regions[pair.region], row.sentences[pair.sentence]
    given = sample.regions if sample else ()
    true = [g.box for g in given if g.span and g.span[0] < end and start < g.span[1]]
    nearest = true[int(iou_matrix([region.box], true)[0].argmax())] if true else None
    return PairExample(
        id=row.id,
        image=image,
        caption=row.caption,
        sentence=(start, end),
        region=region.box,
        source=region.source,
        similarity=pair.similarity,
        truth=nearest,
    )


def retrieval_examples(experiment: Experiment, record: Record) -> list[RetrievalExample]:
    """Captions whose image `goal` finds much better than `global`, and those it fails on worst.

    Without a `goal` among the arms the last one is shown, without `global` the base.
    """
    names = [BASE, *(arm.name for arm in experiment.arms)]
    subject = "goal" if "goal" in names else names[-1]
    rival = "global" if "global" in names and subject != "global" else BASE
    test = record.test or experiment.test
    ranks = {name: _caption_ranks(record.results[name]["long-retrieval"][0]) for name in names}
    captions = list(ranks[subject])
    gain = np.array([ranks[rival][name] - ranks[subject][name] for name in captions])
    own = np.array([ranks[subject][name] for name in captions])
    best = np.lexsort((own, -gain))[:SHOWN_QUERIES]
    worst = [i for i in np.argsort(-own, kind="stable") if i not in set(best)][:SHOWN_QUERIES]
    shown = [captions[i] for i in (*best, *worst)]
    samples = {sample.id: sample for sample in test if sample.id in set(shown)}
    asked = [samples[name] for name in shown]
    views, hits = ViewSet.of(test, DualEncoder.load(experiment.model).fit), {}
    for name in (rival, subject):
        hits[name] = _top_hits(experiment, record.folders[name][0], asked, views)
    return [
        RetrievalExample(
            query=sample.caption,
            truth=test.images.open(sample.image),
            ranks={name: ranks[name][sample.id] for name in names},
            hits={name: hits[name][i] for name in hits},
        )
        for i, sample in enumerate(asked)
    ]


def _caption_ranks(result: EvalResult) -> Mapping[str, int]:
    queries = result.queries["t2i"]
    return {str(name): int(rank) for name, rank in zip(queries.id_Q, queries.rank_Q, strict=True)}


def _top_hits(experiment: Experiment, folder: str, asked: Sequence[Sample], views: ViewSet) -> list[list[Hit]]:
    """The first hits of one model for every asked caption."""
    encoder = DualEncoder.load(folder, device=experiment.device)
    encoder.set_text_limit(encoder.limit_for(experiment.text_tokens))
    text_QD, _ = embed_texts(encoder, [sample.caption for sample in asked])
    sim_QN = text_QD @ embed_images(encoder, views).T
    images, store = [image for image, _ in views.wanted], experiment.test.images
    return [
        [
            Hit(image=store.open(images[n]), score=float(sim_N[n]), correct=images[n] == sample.image)
            for n in np.argsort(-sim_N)[:SHOWN_HITS]
        ]
        for sample, sim_N in zip(asked, sim_QN, strict=True)
    ]
