"""`fastgoal train`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fastgoal.cli.common import Data, Device, Json, Root, SettingsFile, quiet_libraries, write_result
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig
from fastgoal.training import train as train_model
from fastgoal.training.team import end, own_device

DEFAULTS = TrainConfig()


def train(
    pairs: Data,
    /,
    *,
    model: str,
    out: Path,
    val: Annotated[Data | None, Parameter(help="Pairs table held out for keeping the best weights.")] = None,
    config: SettingsFile = None,
    settings: Annotated[TrainConfig, Parameter(name="*", group="Settings")] = DEFAULTS,
    root: Root = None,
    resume: bool = False,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Fine-tune a model on matched pairs.

    The result, `OUT/model`, is a plain transformers folder. Interrupted, add `--resume` and the run continues. Several
    processes train together under torch's own launchers: `torchrun --nproc-per-node 8 -m fastgoal train ...`.

    Example: `fastgoal train pairs --model tiny --out runs/goal --method goal --learning-rate 1e-4`

    Args:
        pairs: a pairs table written by `fastgoal match`.
        model: the model to start from.
        out: folder of the run.
        resume: continue the run in OUT.
    """
    quiet_libraries()
    encoder = DualEncoder.load(model, device=own_device(device))
    table = PairsTable.open(pairs, root=root)
    held_out = None if val is None else PairsTable.open(val, root=root)
    report = train_model(table, encoder, out, settings, val=held_out, resume=resume)
    if not end():
        return  # the main process speaks for all
    last = ", ".join(f"{term} {value['first']:.3f} -> {value['last']:.3f}" for term, value in report.loss.items())
    print(f"{report.method}: {report.steps} steps at {report.samples_per_second:.1f} samples/s; {last}")
    print(f"best weights (step {report.best_step}): {out}/model")
    write_result(json, asdict(report))
