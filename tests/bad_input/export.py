"""Exports to formats that there are not, into folders that are taken, and of models that a format cannot hold."""

import os
from pathlib import Path

from tests.bad_input.cases import REFUSED, case, write
from tests.families import save_metaclip_2, save_siglip

GROUP = "export"
ONNX = ["--format", "onnx"]


@case(GROUP, "an unknown format", REFUSED, "onnx")
def _(folder: Path) -> list[str]:
    return ["export", "MODEL", "out", "--format", "tflite"]


@case(GROUP, "no format", REFUSED, "--format")
def _(folder: Path) -> list[str]:
    return ["export", "MODEL", "out"]


@case(GROUP, "a folder with other things in it", REFUSED, "the folder is not empty")
def _(folder: Path) -> list[str]:
    write(folder / "out" / "photo.jpg", "precious")
    return ["export", "MODEL", "out", *ONNX]


@case(GROUP, "a file of that name", REFUSED, "a file has this name")
def _(folder: Path) -> list[str]:
    write(folder / "out", "precious")
    return ["export", "MODEL", "out", *ONNX]


@case(GROUP, "a place in object storage", REFUSED, "not written to object storage")
def _(folder: Path) -> list[str]:
    return ["export", "MODEL", "s3://bucket/out", *ONNX]


@case(GROUP, "no such model", REFUSED, "there is no such model folder")
def _(folder: Path) -> list[str]:
    return ["export", "./nowhere", "out", *ONNX]


@case(GROUP, "SigLIP to open_clip", REFUSED, "it is a SigLIP, and only plain CLIPs")
def _(folder: Path) -> list[str]:
    save_siglip(folder / "model")
    return ["export", "model", "out", "--format", "open-clip"]


@case(GROUP, "MetaCLIP 2 to open_clip", REFUSED, "it is a MetaCLIP 2, and only plain CLIPs")
def _(folder: Path) -> list[str]:
    save_metaclip_2(folder / "model")
    return ["export", "model", "out", "--format", "open-clip"]


@case(GROUP, "another text limit for SigLIP", REFUSED, "its text limit cannot change to 248")
def _(folder: Path) -> list[str]:
    save_siglip(folder / "model")
    return ["export", "model", "out", *ONNX, "--tokens", "248"]


@case(GROUP, "a folder that may not be written to", REFUSED, "cannot write here")
def _(folder: Path) -> list[str]:
    if os.geteuid():
        (folder / "closed").mkdir(mode=0o555)
    else:  # root may write anywhere, but not below a file
        write(folder / "closed", "precious")
    return ["export", "MODEL", "closed/out", *ONNX]
