"""What a launcher may ask for beyond starting processes.

`accelerate launch` reads the answers that `accelerate config` once wrote, perhaps for another project, and leaves them
in the environment, where the Trainer obeys some of them. A run does what its own settings say, so that it is the same
whoever starts it; where both cannot be had, it is refused before anything is computed.
"""

import os

from accelerate.utils import str_to_bool

from fastgoal.errors import ConfigError
from fastgoal.training.config import TrainConfig

_ENGINES = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}
_SHARDING, _PRECISION = "ACCELERATE_USE_FSDP", "ACCELERATE_MIXED_PRECISION"
_OURS = "Pass `--multi_gpu` to accelerate launch, or start with torchrun;"


def expect_launcher(config: TrainConfig) -> None:
    """Raises ConfigError where accelerate is configured for what the run's own settings do not mean."""
    for name, engine in _ENGINES.items():
        if _asked(name):
            mend = f"{_OURS} shard (--shard) spreads weights, gradients and optimiser state over the processes."
            raise ConfigError(f"accelerate is configured for {engine}, which is not used here", where=name, mend=mend)
    if _asked(_SHARDING) and not config.shard:
        what = "accelerate is configured for FSDP, but the run is not to be sharded"
        raise ConfigError(what, where=_SHARDING, mend=f"{_OURS} or set shard (--shard).")
    if (precision := os.environ.get(_PRECISION, "no")) not in ("no", "bf16"):
        mend = "Pass `--mixed_precision no` to accelerate launch, and choose with precision (--precision)."
        raise ConfigError(
            f"accelerate is configured for {precision}, which is not used here", where=_PRECISION, mend=mend
        )


def _asked(name: str) -> bool:
    value = os.environ.get(name, "")
    return bool(value and str_to_bool(value))
