"""Scenes: drawn pictures with long captions and true boxes, the data set that comes with the package."""

from fastgoal.data.scenes.writer import SPLITS, ScenesConfig, draw_samples, write_scenes

__all__ = ["SPLITS", "ScenesConfig", "draw_samples", "write_scenes"]
