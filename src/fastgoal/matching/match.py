"""Filling a pairs table with what a matcher finds, shard by shard; interrupted, it continues."""

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from fastgoal.data.source import Source
from fastgoal.matching.judge import MatchReport, expect_usable, summarise
from fastgoal.matching.matcher import Engine, Matcher, Shards, here
from fastgoal.matching.settings import MatchSettings
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import Origin, PairsTable, PairsWriter
from fastgoal.progress import Progress
from fastgoal.regions.region import Proposer


def match(
    source: Source,
    encoder: DualEncoder,
    proposer: Proposer,
    out: str | Path,
    settings: MatchSettings | None = None,
    progress: bool = True,
    *,
    cache: str | Path | None = None,
    engine: Engine = here,
) -> MatchReport:
    """Write the pairs table of `source` to the folder `out`; run again after an interruption, it continues.

    Args:
        encoder: the matcher; embeds candidates and sentences.
        proposer: gives the candidate regions.
        progress: show a bar on standard error.
        cache: folder in which embeddings of crops and sentences are kept (see `fastgoal.cache`).
        engine: who computes the shards: this process, or a cluster.

    Raises:
        ConfigError: `dense` with a matcher that cannot project patches.
        DataError: `out` holds a table made differently (or something else), without `overwrite`; no image can be read.
        ModelError: the matcher's embeddings are not finite.
    """
    settings = settings or MatchSettings()
    settings.expect(encoder)
    matcher = Matcher(encoder, proposer, source.images, settings, cache)
    origin = Origin(data=source.key, settings=settings.decisive, **matcher.fingerprints)
    begin, rows, total = time.perf_counter(), settings.shard_rows, Counter[str]()
    stages, images, workers = Counter[str](), 0, set[str | None]()
    with (
        PairsWriter(out, root=source.root, origin=origin, shard_rows=rows, overwrite=settings.overwrite) as writer,
        Progress(len(source), "match", "sample", done=writer.done, show=progress) as bar,
    ):
        shards = Shards(source, start=writer.done, rows=rows)  # finished ones hold the first samples, in order
        for matched in engine(shards, matcher, bar):
            for row in matched.rows:
                writer.add(row)
            images += len({row.image for row in matched.rows})
            stages.update(matched.stages)
            workers.add(matched.worker)
            total.update(found=matched.found, made=matched.made)
    seconds = time.perf_counter() - begin
    truth = {sample.id: sample.regions for sample in source if sample.regions}
    table = PairsTable.open(out, keep=1)
    report = replace(
        summarise(table, truth, source.problems, rule=settings.rule, images=images, seconds=seconds),
        stages=dict(stages) or None,
        workers=len(workers - {None}) or None,
        embeddings=None if cache is None else {"found": total["found"], "made": total["made"]},
    )
    expect_usable(report, source)
    return report
