"""Training: settings, batches, losses of a batch, and the loop around them."""

from fastgoal.training.config import TrainConfig
from fastgoal.training.trainer import TrainReport, train

__all__ = ["TrainConfig", "TrainReport", "train"]
