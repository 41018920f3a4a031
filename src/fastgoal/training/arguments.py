"""A run's settings in the Trainer's words."""

from pathlib import Path

import torch
from transformers import TrainingArguments

from fastgoal.training.config import TrainConfig

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
