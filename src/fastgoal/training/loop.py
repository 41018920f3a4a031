"""Our losses, batches, checkpoints and log inside transformers' `Trainer`.

The Trainer owns the loop: epochs, accumulation, scheduler, resuming, callbacks and logging backends. Overridden is
what it would do differently: batches come from our sampler and go to the device once; the loss is the objective's;
AdamW decays every parameter, as in the papers' code; validation is a function of the encoder; a checkpoint is written
aside, sealed and renamed.

Autocast is entered around the towers only (see `objective`), because the Trainer's own precision setting wraps the
model's `forward` for good and would lower the losses' precision too.
"""

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments

from fastgoal.errors import FastgoalError
from fastgoal.models.dual_encoder import MAX_LOGIT_SCALE, DualEncoder
from fastgoal.training.batches import Batch, Collator, PairsDataset
from fastgoal.training.card import CardFacts, model_card
from fastgoal.training.checkpoints import publish
from fastgoal.training.config import TrainConfig
from fastgoal.training.objective import Objective
from fastgoal.training.order import EpochBatches
from fastgoal.training.run_folder import RunFolder, read_json, write_json
from fastgoal.training.tally import Tally
from fastgoal.training.validation import Validate

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def training_arguments(config: TrainConfig, out: Path, device: torch.device) -> TrainingArguments:
    """The Trainer's settings; when to validate and save is decided by `Flow`."""
    arguments = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULES[config.schedule],
        warmup_steps=config.warmup_steps,
        max_grad_norm=config.clip_norm or 0.0,
        logging_steps=config.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would hide what `compute_loss` stops for
        save_strategy="no",
        eval_strategy="no",
        seed=config.seed,
        use_cpu=device.type == "cpu",
        report_to=list(config.log_to) or "none",
        disable_tqdm=True,
        log_level="error",
    )
    _ = arguments.device
    arguments._n_gpu = min(1, arguments._n_gpu)  # two GPUs without a launcher would mean DataParallel and half batches
    return arguments


class Loop(Trainer):  # type: ignore[misc]
    """One run. `tally`, `seconds` and `best` are what the report is made of."""

    loss_is_scaled_for_ga = False
    optimizer: Any
    control: Any

    def __init__(
        self,
        encoder: DualEncoder,
        dataset: PairsDataset,
        collator: Collator,
        config: TrainConfig,
        folder: RunFolder,
        validate: Validate | None,
    ) -> None:
        super().__init__(
            model=encoder,
            args=training_arguments(config, folder.path, encoder.device),
            train_dataset=dataset,
            data_collator=collator,
        )
        self.remove_callback(PrinterCallback)
        self.batches = EpochBatches(dataset.id_N, dataset.image_N, batch_size=config.batch_size, seed=config.seed)
        self.add_callback(Flow(self, config, validate is not None))
        self.encoder, self.config, self.folder, self.validate = encoder, config, folder, validate
        self.objective = Objective(
            weights=config.weights, tsl_target=config.tsl_target, tsl_stop_gradient=config.tsl_stop_gradient
        )
        self.dtype = tower_dtype(config.precision, encoder.device)
        self.base, self.tally = encoder.name, Tally({})
        self.best = read_json(folder.best)
        self.seconds_before = max((row.get("seconds", 0.0) for row in folder.rows()), default=0.0)
        self.seconds = self._logged = self.seconds_before
        self._marked, self._working = 0.0, False

    # What the Trainer asks for

    def get_train_dataloader(self) -> DataLoader[Any]:
        workers = self.config.num_workers
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,  # forked threads of torch and Arrow may hang
            persistent_workers=workers > 0,  # the views they keep would be lost with them
        )

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Batch], None]:
        return [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)], None

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def create_optimizer(self, model: Any = None) -> Any:
        if self.optimizer is None:
            parameters = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
            self.optimizer = torch.optim.AdamW(
                parameters,
                lr=self.config.learning_rate,
                weight_decay=self.config.weight_decay,
                fused=self.encoder.device.type in ("cpu", "cuda"),
            )
        return self.optimizer

    def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, **kwargs: Any) -> torch.Tensor:
        terms = self.objective(self.encoder, inputs, model=model, dtype=self.dtype)
        if not bool(torch.isfinite(terms["loss"])):
            self._stop_for(inputs, terms)
        self.tally.add(inputs, terms)
        return terms["loss"]

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs.to(self.encoder.device)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        return grad_norm  # the norm is computed for clipping only: it is a pass over all gradients

    def _stop_for(self, batch: Batch, terms: Mapping[str, torch.Tensor]) -> None:
        step, values = self.state.global_step + 1, {name: repr(term.item()) for name, term in terms.items()}
        write_json(self.folder.nonfinite, {"step": step, "terms": values, "ids": list(batch.ids)})
        names = ", ".join(batch.ids[:4]) + (", ..." if len(batch.ids) > 4 else "")
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

    def restore(self, checkpoint: Path) -> None:
        """Take a checkpoint's weights and state without training on: the Trainer would do one step too many."""
        self._load_from_checkpoint(str(checkpoint))
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))

    # Time, log, validation, checkpoints

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
            samples, before = self.tally.samples, self._logged
            self.clock(True)
            self._logged = self.seconds
            rate = samples / max(self.seconds - before, 1e-9)
            logs = {
                **self.tally.means(),
                "lr": logs["learning_rate"],
                "samples_per_second": rate,
                "seconds": self.seconds,
            }
        super().log(logs, start_time)
        self.folder.append({"step": self.state.global_step, **logs})

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.validate is not None
        self.clock(False)
        value, step = float(self.validate(self.encoder)), self.state.global_step
        self.log({"retrieval": value})
        if step and (self.best is None or value > self.best["retrieval"]):
            self.keep(value)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, {"retrieval": value})
        if self.config.patience and self._stale() >= self.config.patience:
            self.control.should_training_stop = True
        self.clock(True)
        return {"retrieval": value}

    def keep(self, value: float | None) -> None:
        """Make the present weights the run's model."""
        start = next((row["retrieval"] for row in self.folder.rows() if row["step"] == 0), None)
        facts = CardFacts(
            base=self.base,
            samples=len(self.train_dataset),
            unpaired=self.train_dataset.unpaired,
            text_limit=self.encoder.text_limit,
            image_size=self.encoder.fit.size,
            step=self.state.global_step,
            validation=value,
            start=start,
        )
        self.folder.keep_model(self.encoder, model_card(facts, self.config))
        self.best = {"step": self.state.global_step, "retrieval": value}
        write_json(self.folder.best, self.best)

    def _stale(self) -> int:
        best = self.best["step"] if self.best else 0
        return sum("retrieval" in row and row["step"] > best for row in self.folder.rows())

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.clock(False)
        shutil.rmtree(self._aside, ignore_errors=True)
        super()._save_checkpoint(model, trial)
        publish(
            self._aside / f"checkpoint-{self.state.global_step}", self.folder.checkpoints, self.config.keep_checkpoints
        )
        shutil.rmtree(self._aside, ignore_errors=True)
        self.clock(True)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._aside)

    @property
    def _aside(self) -> Path:
        return self.folder.path / "checkpoint.new"


class Flow(TrainerCallback):  # type: ignore[misc]
    """When to validate and save: after each epoch or every so many steps, and at the end; and what follows an
    optimiser step.

    All is decided at the end of a step, validation before saving, so that a resumed run never misses one of the two.
    """

    def __init__(self, loop: Loop, config: TrainConfig, validates: bool) -> None:
        self._loop, self._config, self._validates = loop, config, validates

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.clock(True)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.batches.set_epoch(state.global_step // self._loop.epoch_steps)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # CLIP's own guard; `encoder.logit_scale` limits the value, this keeps the parameter from running away behind
        # the limit.
        self._loop.encoder.clip.logit_scale.data.clamp_(max=math.log(MAX_LOGIT_SCALE))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = state.global_step >= state.max_steps
        control.should_log |= last
        control.should_evaluate = self._validates and self._due(self._config.eval_every, state.global_step, last)
        control.should_save = self._due(self._config.save_every, state.global_step, last)

    def _due(self, every: int | None, step: int, last: bool) -> bool:
        return last or step % (every or self._loop.epoch_steps) == 0


def tower_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where asked for, or where `auto` meets a GPU that has it; None is float32."""
    has_it = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and has_it) else None
