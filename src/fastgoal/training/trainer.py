"""Train a dual encoder on a pairs table.

`train` puts the parts together: a run folder, a data set, a collator, an objective and transformers' Trainer around
them (`loop`). What comes out is a plain transformers folder with the best weights, a history, and a report.
Interrupted runs continue from their newest complete checkpoint, which SIGINT and SIGTERM write behind the step they
hit; on one CPU thread the final weights are those of the uninterrupted run, bit for bit.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as log

from fastgoal.devices import peak_memory
from fastgoal.errors import ConfigError
from fastgoal.files import read_json, write_json
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training.adapt import adapted
from fastgoal.training.batches import Collator, PairsDataset, Views, global_side
from fastgoal.training.checkpoints import step_of
from fastgoal.training.choice import PairChoice
from fastgoal.training.compiling import compiled, expect_compiler
from fastgoal.training.config import TrainConfig
from fastgoal.training.loop import Loop
from fastgoal.training.order import EpochBatches, Ints
from fastgoal.training.precision import Precision, settled_precision
from fastgoal.training.progress import Progress
from fastgoal.training.recompute import recomputing
from fastgoal.training.run_folder import RunFolder
from fastgoal.training.texts import token_counts
from fastgoal.training.validation import RetrievalValidation, Validate

TERMS = ("loss", "global", "local", "tsl")


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """The `train` result.

    samples_per_second: of this call, validation and saving excluded. loss: per term, `first` (step 1) and `last`
    (mean of the last `log_every` steps); terms unweighted, `loss` their weighted sum. seconds: spent on training,
    resumed calls added up. peak_memory_mib: on the GPU, or of the process. precision: what the towers ran in
    (`chosen`), and the `reason`. validation: score per step, if anything was held out. unpaired, hidden_sentences,
    hidden_regions: the share of samples seen in this call that had no local pair, and whose sentence lay beyond the
    text limit or whose region was cropped away, so that they added nothing to that half of the token similarity loss.
    data_wait: the share of the time in which the model waited for a batch (0..1).
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
        ConfigError: settings that cannot work together or with this model, a folder that holds another run, more than
            one process.
        ModelError: a text limit that the model cannot take.
        DataError: fewer than two usable samples, an image that cannot be read any more, or a disk that refuses to be
            written to; the newest checkpoint is kept.
        Interrupted: SIGINT or SIGTERM came; there is a checkpoint of the last finished step.
        FastgoalError: the loss became infinite or not a number.
    """
    config = config or TrainConfig()
    _refuse_many_processes()
    expect_trainable(config, encoder)
    encoder.set_text_limit(encoder.limit_for(config.text_tokens))
    dataset = PairsDataset(table, paired_only=config.weights.global_ == 0)
    identity = {
        **config.trajectory(),
        "data": dataset.fingerprint,
        "starting weights": encoder.fingerprint,
        "validation": _validation_key(val),
    }
    folder = RunFolder(out, identity, resume=resume)
    if folder.continues:
        folder.clear_up(config.keep_checkpoints)
    with _quiet_transformers():
        if (done := read_json(folder.report)) is not None:
            _load_best(encoder, folder)
            return TrainReport(**done)
        checkpoint = folder.checkpoint()
        folder.cut(None if checkpoint is None else step_of(checkpoint))
        bar = Progress(config.method) if progress else None
        with adapted(encoder, config), recomputing(encoder, config.checkpoint_activations):
            precision = _precision(encoder, config, folder, bar)
            loop = _loop(table, encoder, dataset, config, folder, val, precision)
            _refuse_endless_warmup(config, loop)
            loop.args.eval_on_start = loop.validate is not None and checkpoint is None
            with compiled(encoder, config.compile):
                _run(loop, checkpoint, bar)
        if loop.best is not None and loop.best["step"] != loop.state.global_step:
            _load_best(encoder, folder)
    report = _report(loop, precision)
    write_json(folder.report, asdict(report))
    return report


def expect_trainable(config: TrainConfig, encoder: DualEncoder) -> None:
    """Refuse loss terms that the architecture has no use for, and a compilation that its device cannot do.

    Raises:
        ConfigError: a token similarity loss for a model that cannot project parts of an image and of a caption, or hard
            negatives for the sigmoid loss; `compile` without a compiler.
    """
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


def _validation_key(val: PairsTable | Validate | None) -> str | None:
    """What decides which weights are kept; a function given by the caller is not looked into."""
    if isinstance(val, PairsTable):
        return PairsDataset(val).fingerprint
    return None if val is None else "a function"


def _refuse_many_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        what = "training on several processes is not supported yet: each would contrast its own samples only"
        raise ConfigError(what, where="WORLD_SIZE", mend="Start it without torchrun or accelerate launch.")


def _refuse_endless_warmup(config: TrainConfig, loop: Loop) -> None:
    if config.warmup_steps >= loop.total_steps:
        what = f"a warm-up of {config.warmup_steps} steps never ends in a run of {loop.total_steps}"
        mend = f"Set warmup_steps below {loop.total_steps}; 5 % of the steps is usual."
        raise ConfigError(what, where="warmup_steps", mend=mend)


def _loop(
    table: PairsTable,
    encoder: DualEncoder,
    dataset: PairsDataset,
    config: TrainConfig,
    folder: RunFolder,
    val: PairsTable | Validate | None,
    precision: Precision,
) -> Loop:
    """Of the cache, 11/16 are for views, 1/16 for tokens, a quarter for validation; workers share the first two."""
    share = config.view_cache_mb * 2**20 // 16
    own = share // max(1, config.num_workers)
    exact = config.exact_decode
    views = Views(table.images, encoder.fit, 11 * own, exact=exact)
    choice = PairChoice(
        count=config.pairs_per_sample, weights=config.pair_weights, in_image_negatives=config.in_image_negatives
    )
    collator = Collator.of(encoder, views, config.weights, patch_rule=config.patch_rule, choice=choice, text_budget=own)
    validate = RetrievalValidation.of(val, encoder, 4 * share, exact=exact) if isinstance(val, PairsTable) else val
    batches = EpochBatches(
        dataset.id_N,
        dataset.image_N,
        batch_size=config.batch_size,
        seed=config.seed,
        length_N=_caption_lengths(dataset, encoder, config),
        window=config.length_window,
    )
    return Loop(encoder, dataset, collator, batches, config, folder, validate, precision.dtype)


def _caption_lengths(dataset: PairsDataset, encoder: DualEncoder, config: TrainConfig) -> Ints | None:
    """Tokens of each sample's caption; None where captions are not encoded, or are all padded to one length."""
    if config.length_window == 1 or not global_side(config.weights) or encoder.traits.pads_to_limit:
        return None
    counts = token_counts(encoder.tokenizer, dataset.table.captions(), encoder.text_limit)
    return np.fromiter(counts, np.int64, len(dataset.table))[dataset.index_N]


def _precision(encoder: DualEncoder, config: TrainConfig, folder: RunFolder, bar: Progress | None) -> Precision:
    choice = settled_precision(config.precision, encoder, config.batch_size, folder.precision)
    if bar is not None and config.precision == "auto":
        bar.say(str(choice))
    return choice


def _run(loop: Loop, checkpoint: Path | None, progress: Progress | None) -> None:
    if progress is not None:
        loop.add_callback(progress)
    if loop.encoder.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        with loop.interrupts:
            if checkpoint is None or loop.restore(checkpoint):
                loop.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finally:
        loop.feed.close()
        if progress is not None:
            progress.close()
    loop.clock(False)
    loop.encoder.eval()
    if loop.best is None:
        loop.keep(None)


def _load_best(encoder: DualEncoder, folder: RunFolder) -> None:
    encoder.load_state_dict(DualEncoder.load(folder.model).state_dict())
    encoder.eval()


def _report(loop: Loop, precision: Precision) -> TrainReport:
    rows, tally = loop.folder.rows(), loop.tally
    lines = [row for row in rows if "loss" in row]
    terms = {name: {"first": lines[0][name], "last": lines[-1][name]} for name in TERMS if name in lines[0]}
    seen, seconds = max(1, tally.seen), loop.seconds - loop.seconds_before
    return TrainReport(
        method=loop.config.method,
        steps=loop.state.global_step,
        samples=len(loop.train_dataset),
        samples_per_second=round(tally.seen / seconds, 3) if seconds else 0.0,
        loss=terms,
        seconds=round(loop.seconds, 3),
        peak_memory_mib=round(peak_memory(loop.encoder.device), 1),
        precision=asdict(precision),
        best_step=loop.best["step"] if loop.best else loop.state.global_step,
        validation={str(row["step"]): row["retrieval"] for row in rows if "retrieval" in row},
        unpaired=tally.unpaired / seen,
        hidden_sentences=tally.hidden_sentences / seen,
        hidden_regions=tally.hidden_regions / seen,
        data_wait=round(loop.feed.waited / seconds, 4) if seconds else 0.0,
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
