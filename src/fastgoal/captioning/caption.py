"""The pass over images that writes a long caption for each.

The one idea: the captions of a batch are a function of its images alone. Whatever is drawn is drawn by a seed of the
batch's own, and only whole batches are kept, so an interrupted run continues to the same captions.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from fastgoal.captioning.captioner import Captioner
from fastgoal.captioning.cleaning import clean_caption
from fastgoal.captioning.journal import Journal, read_record
from fastgoal.captioning.pictures import Entry, Picture, Pictures
from fastgoal.captioning.prompt import PROMPT
from fastgoal.captioning.report import CaptionReport, summarise
from fastgoal.data.images import read_image
from fastgoal.errors import ConfigError, DataError
from fastgoal.progress import Progress

_SILENT = "the captioner wrote nothing about it"


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """How to caption.

    prompt: what is asked; None: `PROMPT` of a model with a chat template, nothing of one without.
    max_new_tokens: limit of an answer; the default leaves room for about 220 English words (FAST-GOAL's mean is 159).
    batch: images per forward pass; None: 1 on a CPU, else 8.
    temperature: 0 takes the likeliest token each time; above, tokens are drawn, by `seed`.
    language: of the captions, for finding their sentences (ISO 639).
    overwrite: drop captions that are already in the folder.
    """

    prompt: str | None = None
    max_new_tokens: int = 320
    batch: int | None = None
    temperature: float = 0.0
    seed: int = 0
    language: str = "en"
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{value} is too small", where=name.replace("_", "-"), mend="Use at least 1.")
        if not 0 <= self.temperature <= 10:
            mend = "Use 0 (always the likeliest token) to 10."
            raise ConfigError(f"{self.temperature} is no temperature", where="temperature", mend=mend)


def caption(
    pictures: Pictures,
    captioner: Captioner,
    out: str | Path,
    settings: CaptionSettings | None = None,
    progress: bool = True,
) -> CaptionReport:
    """Write captions to the folder `out`, data of the contract; run again after an interruption, it continues.

    Args:
        progress: show a bar on standard error.

    Raises:
        DataError: `out` is the folder of the images, holds captions made differently or something else; no image can
            be captioned.
        ModelError: the captioner takes no image with this prompt.
    """
    settings = settings or CaptionSettings()
    prompt = settings.prompt if settings.prompt is not None else PROMPT if captioner.chats else ""
    folder = Path(out)
    check_place(pictures, folder)
    captioner.try_out(prompt)
    journal = Journal(folder, _origin(captioner, prompt, settings), overwrite=settings.overwrite)
    size = settings.batch or (1 if captioner.model.device.type == "cpu" else 8)
    place = _Place(pictures.root.resolve(), folder.resolve())
    done = journal.resume([place.name(entry) for entry in batch] for batch in _batches(pictures, size))
    begin, total = time.perf_counter(), sum(1 for _ in pictures)
    if done == total and journal.report is not None and journal.report["images"] == total:
        return CaptionReport(**journal.report)
    journal.begin()
    with Progress(total, "caption", "image", done=done, show=progress) as bar:
        for batch in _batches(pictures, size, done):
            journal.add(*_caption_batch(batch, pictures, captioner, place, prompt, settings))
            bar.update(len(batch))
    report = summarise(journal, captioner, total, done=done, seconds=time.perf_counter() - begin)
    journal.finish(report.to_json())
    return report


def check_place(pictures: Pictures, folder: Path) -> None:
    """Whether captions of these pictures may go there; quick, so that it can be asked before a model is loaded.

    Raises:
        DataError: the folder is that of the images, or holds something else than captions.
    """
    if folder.resolve() == pictures.root.resolve():
        mend = "Choose another folder; the captions name the images where they lie."
        raise DataError("the captions would lie among the images", where=folder, mend=mend)
    read_record(folder)


def _origin(captioner: Captioner, prompt: str, settings: CaptionSettings) -> dict[str, Any]:
    """What the captions depend on: all but how many are made at once, and where."""
    kept = ("max_new_tokens", "temperature", "language", *(["seed"] if settings.temperature else []))
    return {
        "captioner": captioner.fingerprint,
        "prompt": prompt,
        "dtype": captioner.dtype,
        **{name: getattr(settings, name) for name in kept},
    }


def _batches(pictures: Pictures, size: int, done: int = 0) -> Iterator[list[Entry]]:
    entries = islice(pictures, done, None)
    while batch := list(islice(entries, size)):
        yield batch


@dataclass(frozen=True)
class _Place:
    """Names images as seen from the folder of the captions."""

    root: Path
    folder: Path

    def name(self, entry: Entry) -> str:
        if isinstance(entry, DataError):
            return str(entry.where)
        return Path(os.path.relpath(self.root / entry.uri, self.folder)).as_posix()


Record = dict[str, Any]


def _caption_batch(
    batch: Sequence[Entry],
    pictures: Pictures,
    captioner: Captioner,
    place: _Place,
    prompt: str,
    settings: CaptionSettings,
) -> tuple[list[Record], list[Record]]:
    """The lines of a batch: those with a caption, and those that say why there is none."""
    opened = [(entry, _open(entry, pictures)) for entry in batch]
    readable = [(entry, image) for entry, image in opened if isinstance(image, Image.Image)]
    left_out = [_left_out(place.name(entry), error) for entry, error in opened if isinstance(error, DataError)]
    if not readable:
        return [], left_out
    captions: list[Record] = []
    answers = captioner.ask(
        [image for _, image in readable],
        prompt,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        seed=_seed(settings.seed, place.name(batch[0])),
    )
    for (entry, _), answer in zip(readable, answers, strict=True):
        made = clean_caption(answer.text, prompt=prompt, full=answer.full, language=settings.language)
        name = place.name(entry)
        if not made.text:
            left_out.append(_left_out(name, DataError(_SILENT, mend="Try another --prompt or captioner.")))
            continue
        record: Record = {"id": entry.id if isinstance(entry, Picture) else name, "image": name, "caption": made.text}
        record |= {"dropped": made.dropped} if made.dropped else {}
        record |= {"unfinished": True} if made.unfinished else {}
        captions.append(record | _boxes(entry))
    return captions, left_out


def _open(entry: Entry, pictures: Pictures) -> Image.Image | DataError:
    if isinstance(entry, DataError):
        return entry
    try:
        return read_image(pictures.images.open(entry.uri), where=entry.uri)
    except DataError as error:
        return error


def _boxes(entry: Entry) -> Record:
    """The data's boxes still hold; the spans that said what of the old caption they are the truth of do not."""
    if isinstance(entry, DataError) or not entry.regions:
        return {}
    labels = ({"label": region.label} if region.label is not None else {} for region in entry.regions)
    return {"regions": [{"box": r.box, "span": None} | label for r, label in zip(entry.regions, labels, strict=True)]}


def _left_out(name: str, error: DataError) -> Record:
    return {"where": name, "what": error.what, "mend": error.mend}


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=7).digest())
