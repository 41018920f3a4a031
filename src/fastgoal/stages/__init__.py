"""The stages between samples and a report, strung together for `run` and `demo`."""

from fastgoal.stages.experiment import Arm, Experiment, Mixture, Record, carry_out
from fastgoal.stages.outcome import Heading, publish

__all__ = ["Arm", "Experiment", "Heading", "Mixture", "Record", "carry_out", "publish"]
