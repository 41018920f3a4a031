"""What a person sees while training runs: one bar on a terminal, plain lines elsewhere, with the same facts.

goal: step 1200/6030 (20%), loss 2.31 global 1.20 local 1.90 tsl 0.160, lr 4.5e-06, 412/s, wait 3%, 12.3 GiB, 48:13 left

They are those of the newest line of `history.jsonl`, in fewer digits: the terms without their weights, and samples per
second, the share of the time spent waiting for data and the most memory so far.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from fastgoal.progress import Bar

LINES = 20
"""Plain lines per run at least, where the history has as many ..."""
EVERY = 60.0
"""... and seconds between two of a run so long that these would be further apart."""
TERMS = ("loss", "global", "local", "tsl")
_BAR = "{desc}: {bar:10} step {n_fmt}/{total_fmt} ({percentage:.0f}%){postfix}, {remaining} left"


class Progress(TrainerCallback):  # type: ignore[misc]
    """How far, how good and how fast, on standard error. label: what every line begins with."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Bar | None = None
        self._shown_at, self._first_step = 0, 0
        self._started = self._said = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = self._said = time.monotonic()
        self._first_step = state.global_step
        if sys.stderr.isatty():
            self._bar = Bar(
                total=state.max_steps,
                initial=state.global_step,
                desc=self._label,
                bar_format=_BAR,
                dynamic_ncols=True,
                file=sys.stderr,
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "retrieval" in logs:
            self.say(f"step {state.global_step}, validation R@1 {logs['retrieval']:.2f}")
        elif "loss" in logs and self._bar is not None:
            self._bar.set_postfix_str(facts(logs), refresh=False)
        elif "loss" in logs and self._due(state):
            self._shown_at, self._said = state.global_step, time.monotonic()
            step = f"step {state.global_step}/{state.max_steps} ({100 * logs['done']:.0f}%)"
            self.say(f"{step}, {facts(logs)}, {self._left(state)} left")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar down; also after an error, so that the message stands on its own line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _due(self, state: Any) -> bool:
        """Whether it is time for another line, so that neither a short run nor a long one is silent for long."""
        share = (state.global_step - self._shown_at) * LINES >= state.max_steps
        last = state.global_step >= state.max_steps
        return share or last or time.monotonic() - self._said >= EVERY

    def _left(self, state: Any) -> str:
        done = max(1, state.global_step - self._first_step)
        seconds = (time.monotonic() - self._started) / done * (state.max_steps - state.global_step)
        return str(Bar.format_interval(seconds))

    def say(self, line: str) -> None:
        """One line, beside the bar if there is one."""
        line = f"{self._label}: {line}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)


def facts(row: Mapping[str, float]) -> str:
    """A line of the history in words, without step and time left. row: as the loop logs it."""
    terms = " ".join(f"{name} {row[name]:#.3g}" for name in TERMS if name in row)
    rate, memory = row["samples_per_second"], row["memory_mib"] / 2**10
    speed = f"{rate:.0f}/s" if rate >= 100 else f"{rate:.3g}/s"
    return f"{terms}, lr {row['lr']:.2g}, {speed}, wait {100 * row['data_wait']:.0f}%, {memory:.1f} GiB"
