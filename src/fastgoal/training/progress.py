"""What a person sees while training runs: one bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

LINES = 20
"""About so many plain lines per run, so that a log file stays readable."""


class Progress(TrainerCallback):  # type: ignore[misc]
    """Rate, loss and time left, on standard error."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: tqdm[Any] | None = None
        self._shown_at, self._first_step, self._started = 0, 0, time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started, self._first_step = time.monotonic(), state.global_step
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc=self._label, unit="step", dynamic_ncols=True
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "retrieval" in logs:
            self.say(f"step {state.global_step}, validation R@1 {logs['retrieval']:.2f}")
        elif "loss" in logs and self._bar is not None:
            self._bar.set_postfix_str(
                f"loss {logs['loss']:.4f}, {logs['samples_per_second']:.1f} samples/s", refresh=False
            )
        elif "loss" in logs and (state.global_step - self._shown_at) * LINES >= state.max_steps:
            self._shown_at = state.global_step
            self.say(
                f"step {state.global_step}/{state.max_steps}, loss {logs['loss']:.4f}, "
                f"{logs['samples_per_second']:.1f} samples/s, {self._left(state)} left"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar down; also after an error, so that the message stands on its own line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _left(self, state: Any) -> str:
        done = max(1, state.global_step - self._first_step)
        seconds = (time.monotonic() - self._started) / done * (state.max_steps - state.global_step)
        return str(tqdm.format_interval(seconds))

    def say(self, line: str) -> None:
        """One line, beside the bar if there is one."""
        line = f"{self._label}: {line}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)
