"""Our losses, batches and log inside transformers' `Trainer`.

The Trainer owns the loop: epochs, accumulation, scheduler, resuming, callbacks and logging backends. Overridden is
what it would do differently: batches come from our sampler and go to the device once; the loss is the objective's, its
gradient cached where a batch is encoded in parts (see `cached`); AdamW decays every parameter, as in the papers' code;
validation is a function of the encoder; checkpoints are whole or absent (see `resumable`).

Several processes run the same loop, each on its slice of every batch (see `team`); how the model is spread over them
is ours too (`spread`): accelerate would deal out batches of its own, and shards nothing on a CPU.

Autocast is entered around the towers only (see `encoding`), because the Trainer's own precision setting wraps the
model's `forward` for good and would lower the losses' precision too.
"""

import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainerState

from fastgoal.devices import peak_memory
from fastgoal.errors import FastgoalError
from fastgoal.files import read_json, shown_name
from fastgoal.interrupts import Interrupted, Interrupts, ignore_interrupts
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training.adapt import plain
from fastgoal.training.arguments import training_arguments
from fastgoal.training.batches import Batch, Collator, PairsDataset
from fastgoal.training.cached import CachedStep
from fastgoal.training.card import CardFacts, model_card
from fastgoal.training.config import TrainConfig
from fastgoal.training.encoding import Encoding
from fastgoal.training.feed import Feed
from fastgoal.training.lanes import LaneBatches
from fastgoal.training.left_out import Count, merged, told
from fastgoal.training.loader import EpochLoader
from fastgoal.training.objective import Objective
from fastgoal.training.order import EpochBatches, Slices
from fastgoal.training.resumable import TALLY, CheckpointedTrainer
from fastgoal.training.run_folder import RunFolder
from fastgoal.training.spread import (
    copied,
    scalars,
    sharded,
    whole_copy,
)
from fastgoal.training.streamed import StreamedPairs
from fastgoal.training.tally import Tally
from fastgoal.training.team import Team
from fastgoal.training.trackers import guard
from fastgoal.training.validation import Validate
from fastgoal.watch import said_aloud


class Loop(CheckpointedTrainer):
    """One run. `tally`, `seconds` and `best` are what the report is made of.

    towers: from batches to features, over all processes.
    interrupts: entered around the training, so that a signal ends it behind the step it hits, with a checkpoint. begun:
        the step at which this call began.
    """

    loss_is_scaled_for_ga = False
    optimizer: Any
    control: Any

    def __init__(
        self,
        encoder: DualEncoder,
        dataset: PairsDataset | StreamedPairs,
        collator: Collator,
        batches: EpochBatches | LaneBatches,
        config: TrainConfig,
        folder: RunFolder,
        validate: Validate | None,
        dtype: torch.dtype | None,
        team: Team,
    ) -> None:
        self.team, encoding = team, Encoding(encoder, config.weights, dtype)
        self.towers = sharded(encoding, team) if config.shard else copied(encoding, team)
        super().__init__(
            model=encoder,
            args=training_arguments(config, folder.path, encoder.device),
            train_dataset=dataset,
            data_collator=collator,
        )
        self.remove_callback(PrinterCallback)
        guard(self.callback_handler.callbacks, config.log_to)
        self.batches = batches
        self.flow, self.interrupts, self.begun = Flow(self, config, validate is not None), Interrupts(patient=True), 0
        self.add_callback(self.flow)
        self.encoder, self.config, self.folder, self.validate = encoder, config, folder, validate
        self.objective = Objective(
            weights=config.weights,
            tsl_target=config.tsl_target,
            tsl_stop_gradient=config.tsl_stop_gradient,
            hard_negatives=config.hard_negatives,
        )
        self.base, self.tally = encoder.name, Tally({})
        parts = config.micro_batch is not None and config.micro_batch < config.batch_size
        device = None if parts else encoder.device  # the parts of a batch go to the device one by one
        self.feed = Feed(device, awaited=self._awaited)
        self._waited, self._told = 0.0, False
        self.best = folder.read(folder.best)
        self.seconds_before = max((row.get("seconds", 0.0) for row in folder.rows()), default=0.0)
        self.seconds = self._logged = self.seconds_before
        self._marked, self._working = 0.0, False
        self._loader: EpochLoader | None = None

    # What the Trainer asks for

    def get_train_dataloader(self) -> DataLoader[Any]:
        workers = self.config.num_workers
        self._loader = EpochLoader(
            self.train_dataset,
            batch_sampler=Slices(self.batches, self.team.rank, self.team.size),
            collate_fn=self.data_collator,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,  # forked threads of torch and Arrow may hang
            worker_init_fn=ignore_interrupts,
            persistent_workers=workers > 0,  # the views they keep would be lost with them
        )
        return self._loader

    def close(self) -> None:
        """Nothing is drawn any more: ends the thread and the processes that make batches."""
        self.feed.close()
        if self._loader is not None:
            self._loader.close()

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Batch], None]:
        return self.feed.take(epoch_iterator, num_batches), None

    def _awaited(self) -> str:
        """The batch that is waited for. Its image is known where this process reads it, and no worker."""
        image = getattr(self.data_collator.views, "reading", None)
        return f"the batch of step {self.state.global_step + 1}" + (f"; last image {image}" if image else "")

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def _wrap_model(self, model: Any, training: bool = True, dataloader: Any = None) -> Any:
        return self.towers

    def create_optimizer(self, model: Any = None) -> Any:
        """Numbers in a group of their own: one fused update takes either whole or sharded weights."""
        if self.optimizer is None:
            own = set(scalars(self.encoder).values())
            learning = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
            self.optimizer = torch.optim.AdamW(
                [{"params": [p for p in learning if (p in own) == number]} for number in (False, True)],
                lr=self.config.learning_rate,
                weight_decay=self.config.weight_decay,
                fused=self.encoder.device.type in ("cpu", "cuda"),
            )
        return self.optimizer

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        loss: torch.Tensor
        micro_batch, share = self.config.micro_batch, -(-self.config.batch_size // self.team.size)
        if micro_batch is None or micro_batch >= share:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:
            loss = self._cached_step(inputs, micro_batch)
        if self.accelerator.sync_gradients:
            self.team.average(list(scalars(self.encoder).values()))
        return loss

    def _cached_step(self, batch: Batch, micro_batch: int) -> torch.Tensor:
        self.towers.train()
        step = CachedStep(self.objective, self.encoder, batch, micro_batch, model=self.towers, team=self.team)
        loss: torch.Tensor = self._counted(batch, step.terms()) / self.current_gradient_accumulation_steps
        step.backward(loss)
        return loss.detach()

    def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, **kwargs: Any) -> torch.Tensor:
        features = self.towers(inputs)
        return self._counted(inputs, self.objective.terms(self.encoder, features, inputs.belonging, self.team))

    def _counted(self, batch: Batch, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss among the terms, which has to be a number."""
        self.tally.left_out.add(batch.left_out, self.tally.seen + len(batch.ids))
        if not bool(torch.isfinite(terms["loss"])):
            self._stop_for(batch, terms)
        self.tally.add(batch, terms)
        return terms["loss"]

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs.to(self.encoder.device)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        return grad_norm  # the norm is computed for clipping only: it is a pass over all gradients

    def _stop_for(self, batch: Batch, terms: Mapping[str, torch.Tensor]) -> None:
        step, values = self.state.global_step + 1, {name: repr(term.item()) for name, term in terms.items()}
        ids = [name for own in self.team.all(batch.ids) for name in own]
        self.folder.write(self.folder.nonfinite, {"step": step, "terms": values, "ids": ids})
        names = ", ".join(ids[:4]) + (", ..." if len(ids) > 4 else "")
        raise FastgoalError(
            f"the loss became {values['loss']} at step {step} (samples {names})",
            where=self.folder.nonfinite,
            mend="Lower learning_rate, add warmup_steps or clip_norm, or set precision to fp32. The file has all ids.",
        )

    @property
    def total_steps(self) -> int:
        return self.config.max_steps or self.config.epochs * self.epoch_steps

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps per epoch; the last one may average fewer batches."""
        return math.ceil(len(self.batches) / self.config.accumulate)

    @property
    def finished(self) -> bool:
        """Whether a further step would be one too many."""
        return self.state.global_step >= self.total_steps or self._patience_is_lost()

    def restore(self, checkpoint: Path) -> bool:
        """Take up a checkpoint, and make up for the validation that an interruption left out there; whether there is
        more to train.
        """
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self.begun = self.state.global_step
        if (sums := read_json(checkpoint / TALLY)) is not None:
            self.tally.take(sums)
        owed = self._owes_validation()
        if owed or self.finished:
            self._load_from_checkpoint(str(checkpoint))
        if owed:
            self.evaluate()
        return not self.finished

    def _owes_validation(self) -> bool:
        step, rows = self.state.global_step, self.folder.rows()
        done = any("retrieval" in row and row["step"] == step for row in rows)
        due = self.flow.due(self.config.eval_every, step, step >= self.total_steps)
        return self.validate is not None and due and not done

    # Time, log, validation

    def clock(self, working: bool) -> None:
        """Add the time since the last call to `seconds` if it was spent on training rather than on validation or
        saving.
        """
        now = time.perf_counter()
        self.seconds += now - self._marked if self._working else 0.0
        self._marked, self._working = now, working

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "train_runtime" in logs:  # the Trainer's closing summary: `train.json` says it better
            return
        if "loss" in logs:
            counted = self.team.all((self.tally.samples, self.tally.left_out))
            samples, before, waited = sum(count for count, _ in counted), self._logged, self._waited
            self._tell(merged([left_out for _, left_out in counted]))
            self.clock(True)
            self._logged, self._waited = self.seconds, self.feed.waited
            took = max(self.seconds - before, 1e-9)
            logs = {
                **self.tally.means(),
                "lr": logs["learning_rate"],
                "samples_per_second": samples / took,
                "data_wait": (self._waited - waited) / took,
                "seconds": self.seconds,
                "memory_mib": round(peak_memory(self.encoder.device), 1),
                "done": self.state.global_step / self.total_steps,
            }
        super().log(logs, start_time)
        self.folder.append({"step": self.state.global_step, **logs})

    def _tell(self, left_out: Count) -> None:
        """Once, that images cannot be read."""
        if left_out.times and not self._told and self.team.main:
            said_aloud(told(left_out))
            self._told = True

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.clock(False)
        self.feed.settle()
        values = [value for value in self.team.all(self._validation()) if value is not None]
        if len(values) < self.team.size:
            self.take_interrupt()
            if self.state.global_step == self.begun:
                raise Interrupted(self.interrupts.came or signal.SIGTERM)  # there is nothing new to save
            self.control.should_save = self.control.should_training_stop = True
            return {}
        value = values[0]  # the main rank's: rounding may differ
        self._judge(value)
        self.clock(True)
        return {"retrieval": value}

    def _validation(self) -> float | None:
        """None: a signal came."""
        assert self.validate is not None
        try:
            with self.interrupts.at_once():
                return float(self.validate(whole_copy(self.encoder) if self.config.shard else self.encoder))
        except Interrupted:
            return None

    def take_interrupt(self) -> bool:
        """Whether a signal came to any rank; then it came to all."""
        self.interrupts.came = next((number for number in self.team.all(self.interrupts.came) if number), None)
        return self.interrupts.came is not None

    def _judge(self, value: float) -> None:
        if self.state.global_step and (self.best is None or value > self.best["retrieval"]):
            self.keep(value)
        self.log({"retrieval": value})  # behind `keep`, because a validation that is in the history is not made again
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, {"retrieval": value})
        if self._patience_is_lost():
            self.control.should_training_stop = True

    def keep(self, value: float | None) -> None:
        """Make the present weights the run's model."""
        start = next((row["retrieval"] for row in self.folder.rows() if row["step"] == 0), None)
        family, table = self.encoder.family, self.train_dataset.table
        facts = CardFacts(
            base=self.base,
            data=shown_name(str(table.folder)),
            held_out=getattr(self.validate, "name", "held-out samples"),
            language=str(table.manifest.origin.settings.get("language", "en")),
            title=self.encoder.traits.title,
            classes=(family.Model.__name__, family.Processor.__name__),
            pads_to_limit=self.encoder.traits.pads_to_limit,
            samples=len(self.train_dataset),
            unpaired=self.train_dataset.unpaired,
            text_limit=self.encoder.text_limit,
            image_size=self.encoder.fit.size,
            step=self.state.global_step,
            validation=value,
            start=start,
        )
        saved = whole_copy(self.encoder) if self.config.shard else plain(self.encoder)
        self.folder.keep_model(saved, model_card(facts, self.config))
        self.best = {"step": self.state.global_step, "retrieval": value}
        self.folder.write(self.folder.best, self.best)

    def _patience_is_lost(self) -> bool:
        best = self.best["step"] if self.best else 0
        stale = sum("retrieval" in row and row["step"] > best for row in self.folder.rows())
        return self.config.patience is not None and stale >= self.config.patience


class Flow(TrainerCallback):  # type: ignore[misc]
    """When to validate and save: after each epoch or every so many steps, and at the end; and what follows an
    optimiser step.

    All is decided at the end of a step, validation before saving, so that a resumed run never misses one of the two. An
    interruption saves at once; resuming then begins with the validation.
    """

    def __init__(self, loop: Loop, config: TrainConfig, validates: bool) -> None:
        self._loop, self._config, self._validates = loop, config, validates

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.begun = state.global_step
        if self._loop.team.size > 1:  # or all would draw the same numbers for different samples
            torch.manual_seed(self._config.seed + self._loop.team.rank)
        self._loop.clock(True)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.batches.set_epoch(state.global_step // self._loop.epoch_steps)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.encoder.bound_logit_scale()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = state.global_step >= state.max_steps
        control.should_log |= last
        control.should_evaluate = self._validates and self.due(self._config.eval_every, state.global_step, last)
        control.should_save = self.due(self._config.save_every, state.global_step, last)
        if self._loop.take_interrupt():
            control.should_evaluate = False
            control.should_save = control.should_training_stop = True

    def due(self, every: int | None, step: int, last: bool) -> bool:
        """Whether it is time for what happens every so many steps (None: at the end of each epoch)."""
        return last or step % (every or self._loop.epoch_steps) == 0
