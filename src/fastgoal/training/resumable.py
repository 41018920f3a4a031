"""The Trainer's checkpoints: written aside, sealed and renamed, by one process for all, and the same for any number.

Weights and moments of a sharded model (`spread`) are put together first, so that another number of ranks, or one
process, can go on from them. Of each rank only its random state is kept.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import Trainer

from fastgoal.files import write_json
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import writing_weights
from fastgoal.training.checkpoints import publish
from fastgoal.training.config import TrainConfig
from fastgoal.training.run_folder import RunFolder
from fastgoal.training.spread import take_moments, take_weights, whole_moments, whole_weights
from fastgoal.training.tally import Tally
from fastgoal.training.team import Team

TALLY = "tally.json"
WEIGHTS, MOMENTS, SCHEDULER = "model.safetensors", "optimizer.pt", "scheduler.pt"


class CheckpointedTrainer(Trainer):  # type: ignore[misc]
    """Saves to and resumes from the checkpoints of a run's folder; `Loop` sets what it needs."""

    encoder: DualEncoder
    config: TrainConfig
    folder: RunFolder
    tally: Tally
    team: Team
    optimizer: Any

    def clock(self, working: bool) -> None:
        """Told when training stops for a while, and when it goes on."""
        raise NotImplementedError

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The main rank writes for all; the others add their random state, and wait until all is there."""
        self.clock(False)
        aside, team = self.folder.aside, self.team
        written = aside / f"checkpoint-{self.state.global_step}"
        if team.main:
            shutil.rmtree(aside, ignore_errors=True)
        team.barrier()
        with writing_weights(self.folder.checkpoints):
            super()._save_checkpoint(model, trial)
        sums = self.tally.sums()
        team.barrier()
        if team.main:
            write_json(written / TALLY, sums)
            publish(written, self.folder.checkpoints, self.config.keep_checkpoints)
            shutil.rmtree(aside, ignore_errors=True)
        self.clock(True)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        self._save(output_dir, state_dict=whole_weights(self.encoder) if self.config.shard else None)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.config.shard:
            take_weights(self.encoder, load_file(Path(resume_from_checkpoint) / WEIGHTS))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.config.shard:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        moments = whole_moments(self.encoder, self.optimizer.optimizer)
        if self.team.main:
            torch.save(moments, Path(output_dir) / MOMENTS)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.config.shard:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        moments, schedule = (torch.load(Path(checkpoint) / name, weights_only=True) for name in (MOMENTS, SCHEDULER))
        take_moments(self.encoder, self.optimizer.optimizer, moments)
        self.lr_scheduler.load_state_dict(schedule)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """A rank that the checkpoint has no state of, because there were fewer, draws from a seed of its own."""
        torch.manual_seed(self.config.seed + self.state.global_step * self.team.size + self.team.rank)
        super()._load_rng_state(checkpoint)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.folder.aside)
