"""Train a dual encoder on a pairs table.

`train` puts the parts together: a run folder, a data set, a collator, an objective and transformers' Trainer around
them (`loop`). What comes out is a plain transformers folder with the best weights, a history, and a report.
Interrupted runs continue from their newest complete checkpoint, which SIGINT and SIGTERM write behind the step they
hit; on one CPU thread the final weights are those of the uninterrupted run, bit for bit.

Started by torch's launchers, each of several processes calls `train` (see `team`); one of them writes and speaks.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as log

from fastgoal.devices import peak_memory
from fastgoal.errors import ConfigError, DataError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training.adapt import adapted
from fastgoal.training.batches import Collator, PairsDataset, Views, global_side, local_side
from fastgoal.training.checkpoints import step_of
from fastgoal.training.choice import PairChoice
from fastgoal.training.compiling import compiled, expect_compiler
from fastgoal.training.config import TrainConfig
from fastgoal.training.lanes import LaneBatches
from fastgoal.training.launcher import expect_launcher
from fastgoal.training.left_out import merged
from fastgoal.training.loop import Loop
from fastgoal.training.order import EpochBatches, Ints
from fastgoal.training.precision import Precision, settled_precision
from fastgoal.training.progress import TERMS, Progress
from fastgoal.training.recompute import recomputing
from fastgoal.training.run_folder import RunFolder
from fastgoal.training.streamed import StreamedPairs, fetching
from fastgoal.training.team import Team
from fastgoal.training.texts import token_counts
from fastgoal.training.trackers import expect_trackers
from fastgoal.training.validation import RetrievalValidation, Validate

COUNTS = ("seen", "unpaired", "hidden_sentences", "hidden_regions")


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """The `train` result.

    samples_per_second: of this call, validation and saving excluded. loss: per term, `first` (step 1) and `last`
    (mean of the last `log_every` steps); terms unweighted, `loss` their weighted sum. seconds: spent on training,
    resumed calls added up. peak_memory_mib: on the GPU, or of the process (of several, the largest). precision: what
    the towers ran in (`chosen`), and the `reason`. validation: score per step, if anything was held out. unpaired,
    hidden_sentences, hidden_regions: the share of samples seen in this call that had no local pair, and whose sentence
    lay beyond the text limit or whose region was cropped away, so that they added nothing to that half of the token
    similarity loss.
    data_wait: the share of the time in which the model waited for a batch (0..1).
    unreadable: how often, in this call, a sample was left out because its image could not be read; unreadable_samples
    names the first ones. passed_over: rows that were met while streaming and were of no use (skipped by matching, or
    without a pair where the method needs one).
    """

    method: str
    steps: int
    samples: int
    samples_per_second: float
    loss: Mapping[str, Mapping[str, float]]
    seconds: float
    peak_memory_mib: float
    precision: Mapping[str, str]
    best_step: int
    validation: Mapping[str, float]
    unpaired: float
    hidden_sentences: float
    hidden_regions: float
    data_wait: float
    unreadable: int
    unreadable_samples: tuple[Mapping[str, str], ...]
    passed_over: int
    config: Mapping[str, Any]


def train(
    table: PairsTable,
    encoder: DualEncoder,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    val: PairsTable | Validate | None = None,
    resume: bool = False,
    progress: bool = True,
) -> TrainReport:
    """Train `encoder` in place, on the device it is on; it ends with the best weights (the last ones without `val`).

    Args:
        table: samples with their local pairs.
        out: the run's folder (see `RunFolder`).
        val: held-out pairs, scored by retrieval, or any function of the encoder where higher is better.
        resume: continue the run in `out`, or start it if there is none; a finished run is only read.
        progress: show rate, loss and time left on standard error.

    Raises:
        ConfigError: settings that cannot work together or with this model, a tracker that is not installed, a folder
            that holds another run, a launcher's environment that contradicts itself.
        TeamError: another process is gone, or runs something else.
        ModelError: a text limit that the model cannot take.
        DataError: fewer than two usable samples, no local pairs where the method learns from them, more than half of
            the images unreadable, or a disk that refuses to be written to; the newest checkpoint is kept.
        Interrupted: SIGINT or SIGTERM came; there is a checkpoint of the last finished step.
        FastgoalError: the loss became infinite or not a number.
    """
    config, team = config or TrainConfig(), Team.join(encoder.device)
    with team.telling():
        return _train(table, encoder, out, config, val=val, resume=resume, progress=progress and team.main, team=team)


def _train(
    table: PairsTable,
    encoder: DualEncoder,
    out: str | Path,
    config: TrainConfig,
    *,
    val: PairsTable | Validate | None,
    resume: bool,
    progress: bool,
    team: Team,
) -> TrainReport:
    expect_trainable(config, encoder)
    expect_launcher(config)
    expect_team(config, team)
    encoder.set_text_limit(encoder.limit_for(config.text_tokens))
    expect_pairs(config, table)
    dataset = _dataset(table, config)
    identity = {
        **config.trajectory(),
        "data": dataset.fingerprint,
        "starting weights": encoder.fingerprint,
        "validation": _validation_key(val),
    }
    team.expect_same({**versions(), **identity})
    folder = RunFolder(out, identity, resume=resume, team=team)
    if folder.continues:
        folder.clear_up(config.keep_checkpoints)
    with _quiet_transformers():
        if (done := folder.read(folder.report)) is not None:
            _load_best(encoder, folder)
            return TrainReport(**done)
        checkpoint = folder.checkpoint()
        folder.cut(None if checkpoint is None else step_of(checkpoint))
        bar = Progress(config.method) if progress else None
        with adapted(encoder, config), recomputing(encoder, config.checkpoint_activations):
            precision = _precision(encoder, config, folder, bar, team)
            loop = _loop(table, encoder, dataset, config, folder, val, precision, team)
            _refuse_endless_warmup(config, loop)
            loop.args.eval_on_start = loop.validate is not None and checkpoint is None
            with compiled(encoder, config.compile):
                _run(loop, checkpoint, bar)
        team.barrier()  # the best weights are on the disk
        if config.shard or (loop.best is not None and loop.best["step"] != loop.state.global_step):
            _load_best(encoder, folder)
    report = _report(loop, precision)
    folder.write(folder.report, asdict(report))
    return report


def expect_trainable(config: TrainConfig, encoder: DualEncoder) -> None:
    """Refuse loss terms that the architecture has no use for, and what is not to be had here: trackers, a compiler.

    Raises:
        ConfigError: a token similarity loss for a model that cannot project parts of an image and of a caption, or hard
            negatives for the sigmoid loss; a tracker that is not installed; `compile` without a compiler.
    """
    expect_trackers(config.log_to)
    title = encoder.traits.title
    if config.weights.tsl and not encoder.traits.projects_parts:
        what = f"{title} has no projection for patches and tokens, so that it cannot learn by token similarity"
        mend = "Train global, local or no-tsl (tsl_weight 0), or use a model of the CLIP family."
        raise ConfigError(what, where=f"method {config.method}", mend=mend)
    if config.hard_negatives and encoder.traits.loss != "softmax":
        what = f"{title} learns by the {encoder.traits.loss} loss, which takes no hard negatives"
        raise ConfigError(what, where="hard_negatives", mend="Leave it at 0, or use a model of the CLIP family.")
    if config.compile:
        expect_compiler(encoder.device)


def expect_pairs(config: TrainConfig, table: PairsTable) -> None:
    """Raises DataError where a method learns from local pairs and the table was made without looking for any."""
    looked_for = table.manifest.origin.matcher or table.manifest.counts["paired"]
    if local_side(config.weights) and not looked_for:
        what = f"no sample has a local pair, which method {config.method!r} learns from"
        mend = "Match the data with regions (`fastgoal match DATA --regions flism`), or train --method global."
        raise DataError(what, where=table.folder, mend=mend)


def _dataset(table: PairsTable, config: TrainConfig) -> PairsDataset | StreamedPairs:
    if config.stream:
        return StreamedPairs(table, _lanes(table, config), paired_only=_paired_only(config))
    return PairsDataset(table, paired_only=_paired_only(config))


def _paired_only(config: TrainConfig) -> bool:
    return config.weights.global_ == 0


def _lanes(table: PairsTable, config: TrainConfig) -> LaneBatches:
    rows = [shard.rows for shard in table.manifest.shards]
    return LaneBatches(rows, batch_size=config.batch_size, seed=config.seed, block=config.stream_block)


def _validation_key(val: PairsTable | Validate | None) -> str | None:
    """What decides which weights are kept; a function given by the caller is not looked into."""
    if isinstance(val, PairsTable):
        return PairsDataset(val).fingerprint
    return None if val is None else "a function"


def expect_team(config: TrainConfig, team: Team) -> None:
    """Refuse what several processes cannot do.

    Raises:
        ConfigError: fewer samples in a batch than processes, or `shard` without any other process.
    """
    if config.batch_size < team.size:
        what = f"a batch of {config.batch_size} samples for {team.size} processes"
        mend = "batch_size counts the samples of all processes together; raise it, or start fewer processes."
        raise ConfigError(what, where="batch_size", mend=mend)
    if config.shard and team.size == 1:
        mend = "Start several (torchrun --nproc-per-node N -m fastgoal train ...), or leave shard out."
        raise ConfigError("a single process has nobody to share the weights with", where="shard", mend=mend)


def versions() -> dict[str, str]:
    """Of what the arithmetic of a run depends on."""
    return {f"version of {name}": version(name) for name in ("fastgoal", "torch", "transformers")}


def _refuse_endless_warmup(config: TrainConfig, loop: Loop) -> None:
    if config.warmup_steps >= loop.total_steps:
        what = f"a warm-up of {config.warmup_steps} steps never ends in a run of {loop.total_steps}"
        mend = f"Set warmup_steps below {loop.total_steps}; 5 % of the steps is usual."
        raise ConfigError(what, where="warmup_steps", mend=mend)


def _loop(
    table: PairsTable,
    encoder: DualEncoder,
    dataset: PairsDataset | StreamedPairs,
    config: TrainConfig,
    folder: RunFolder,
    val: PairsTable | Validate | None,
    precision: Precision,
    team: Team,
) -> Loop:
    """Of the cache, 11/16 are for views, 1/16 for tokens, a quarter for validation; workers share the first two."""
    share = config.view_cache_mb * 2**20 // 16
    own = share // max(1, config.num_workers)
    exact = config.exact_decode
    views = Views(table.images, encoder.fit, 11 * own, exact=exact)
    choice = PairChoice(
        count=config.pairs_per_sample, weights=config.pair_weights, in_image_negatives=config.in_image_negatives
    )
    collator = Collator.of(
        encoder,
        views,
        config.weights,
        patch_rule=config.patch_rule,
        choice=choice,
        text_budget=own,
        paired_only=_paired_only(config),
    )
    validate = RetrievalValidation.of(val, encoder, 4 * share, exact=exact) if isinstance(val, PairsTable) else val
    batches = dataset.batches if isinstance(dataset, StreamedPairs) else _sorted(dataset, encoder, config, team)
    return Loop(encoder, dataset, collator, batches, config, folder, validate, precision.dtype, team)


def _sorted(dataset: PairsDataset, encoder: DualEncoder, config: TrainConfig, team: Team) -> EpochBatches:
    return EpochBatches(
        dataset.id_N,
        dataset.image_N,
        batch_size=config.batch_size,
        seed=config.seed,
        length_N=_caption_lengths(dataset, encoder, config, team),
        window=config.length_window,
    )


def _caption_lengths(dataset: PairsDataset, encoder: DualEncoder, config: TrainConfig, team: Team) -> Ints | None:
    """Tokens of each sample's caption; None where captions are not encoded, or are all padded to one length."""
    if config.length_window == 1 or not global_side(config.weights) or encoder.traits.pads_to_limit:
        return None
    own = islice(dataset.table.captions(), team.rank, None, team.size)
    counts = team.all(np.fromiter(token_counts(encoder.tokenizer, own, encoder.text_limit), np.int64))
    length_N = np.empty(len(dataset.table), np.int64)
    for rank, count_n in enumerate(counts):
        length_N[rank :: team.size] = count_n
    return length_N[dataset.index_N]


def _precision(
    encoder: DualEncoder, config: TrainConfig, folder: RunFolder, bar: Progress | None, team: Team
) -> Precision:
    asked, batch = config.precision, config.batch_size // team.size
    choice = team.agreed(settled_precision(asked, encoder, batch, folder.precision) if team.main else None)
    assert choice is not None
    if bar is not None and config.precision == "auto":
        bar.say(str(choice))
    return choice


def _run(loop: Loop, checkpoint: Path | None, progress: Progress | None) -> None:
    if progress is not None:
        loop.add_callback(progress)
    if loop.encoder.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        with loop.interrupts, fetching(loop.train_dataset, loop.team.rank, loop.team.size):
            if checkpoint is None or loop.restore(checkpoint):
                loop.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finally:
        loop.close()
        if progress is not None:
            progress.close()
    loop.clock(False)
    loop.encoder.eval()
    if loop.best is None:
        loop.keep(None)


def _load_best(encoder: DualEncoder, folder: RunFolder) -> None:
    """In the place of weights that may be cut up."""
    encoder.model = DualEncoder.load(folder.model, device=encoder.device).model
    encoder.eval()


def _report(loop: Loop, precision: Precision) -> TrainReport:
    rows = loop.folder.rows()
    tallies = loop.team.all(replace(loop.tally, terms={}))
    left_out = merged([tally.left_out for tally in tallies])
    lines = [row for row in rows if "loss" in row]
    terms = {name: {"first": lines[0][name], "last": lines[-1][name]} for name in TERMS if name in lines[0]}
    counts = {name: sum(getattr(tally, name) for tally in tallies) for name in COUNTS}
    seen, seconds = max(1, counts.pop("seen")), loop.seconds - loop.seconds_before
    return TrainReport(
        method=loop.config.method,
        steps=loop.state.global_step,
        samples=len(loop.train_dataset),
        samples_per_second=round(seen / seconds, 3) if seconds else 0.0,
        loss=terms,
        seconds=round(loop.seconds, 3),
        peak_memory_mib=round(max(loop.team.all(peak_memory(loop.encoder.device))), 1),
        precision=asdict(precision),
        best_step=loop.best["step"] if loop.best else loop.state.global_step,
        validation={str(row["step"]): row["retrieval"] for row in rows if "retrieval" in row},
        **{name: count / seen for name, count in counts.items()},
        data_wait=round(loop.feed.waited / seconds, 4) if seconds else 0.0,
        unreadable=left_out.times,
        unreadable_samples=tuple(one.to_json() for one in left_out.first.values()),
        passed_over=sum(tally.passed_over for tally in tallies),
        config=loop.config.to_mapping(),
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No bars and warnings of transformers beside ours. The Trainer sets the level for good; both are put back."""
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
