"""Training: settings, batches, losses of a batch, and the loop around them."""

from fastgoal.training.config import TrainConfig
from fastgoal.training.trainer import TrainReport, expect_trainable, train

__all__ = ["TrainConfig", "TrainReport", "expect_trainable", "train"]
