"""What the matcher compares sentences with: the candidate regions of images, and their embeddings.

The one idea: a candidate is a box, and there are two ways to embed it. `crops` (as in both papers) cuts every box out
and encodes it as an image of its own. `dense` (ours) encodes the whole image once and reads every box out of the last
layer: the mean of its patches, normed and projected into the joint space, which is what the token similarity loss
trains to agree with the crop's embedding. The whole image as a candidate is the box that covers it, in either way: for
`dense` a pool of all patches beside pools of some, since the image's own embedding is read elsewhere in the model, and
similarities from two places do not compare.

Shapes: C candidates of an image, N of several; B images of a batch; P patches, W tower width, D the joint embedding.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fastgoal.ahead import look_ahead
from fastgoal.cache import EmbeddingCache, view_keys
from fastgoal.data.images import fit_pixels, read_image
from fastgoal.data.samples import Sample
from fastgoal.data.store import ImageStore
from fastgoal.embed import View, embed_images, inference, pixel_batches
from fastgoal.errors import DataError
from fastgoal.geometry import Box, ImageFit, PatchRule, patch_weights
from fastgoal.losses import pool
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions.region import Proposer, Region, propose_for

Embed = Literal["crops", "dense"]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

PATCH_RULE: PatchRule = "area"
"""Which patches a dense candidate is read from: by the area they share, a small box keeps what little it has (with
`inside` it may have nothing), and what lies beside it counts little (with `overlap` it counts in full)."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One image as the matcher sees it.

    boxes: the candidates: the regions', then the whole image's if asked for.
    views: what is encoded, `fit.size` square, H x W x C: a crop of each candidate that no cache has, or, for `dense`,
        the whole image alone. None without candidates.
    keys, places: with a cache, each crop's key in it, and where its row is (-1: nowhere yet).
    skip: why the image cannot be used.
    """

    width: int = 0
    height: int = 0
    regions: tuple[Region, ...] = ()
    boxes: tuple[Box, ...] = ()
    views: tuple[View, ...] = ()
    keys: tuple[bytes, ...] = ()
    places: tuple[int, ...] = ()
    skip: str | None = None


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The candidates of an image, embedded.

    embedding_CD: unit length; of no meaning, but finite, where not seen.
    seen_C: whether any of it is within the model's sight, which for `dense` the image fit decides.
    """

    embedding_CD: Floats
    seen_C: Bools


def looks_at(
    samples: Sequence[Sample],
    images: ImageStore,
    fit: ImageFit,
    proposer: Proposer,
    *,
    embed: Embed,
    whole: bool,
    group: int,
    workers: int,
    cache: EmbeddingCache | None = None,
) -> Iterator[Look]:
    """A look at each sample's image, in the samples' order, made some groups ahead.

    Args:
        embed: which views are made.
        whole: the whole image is one more candidate.
        group: images that the proposer sees at once.
        workers: threads; 0 does all in turn.
        cache: asked which crops need not be cut.
    """
    starts = range(0, len(samples), group)
    groups = ([(s, _find(images, s.image)) for s in samples[i : i + group]] for i in starts)
    look = partial(_looks, fit=fit, proposer=proposer, embed=embed, whole=whole, cache=cache)
    for looks in look_ahead(look, groups, workers, ahead=workers):
        yield from looks


def _looks(
    found: Sequence[tuple[Sample, Path | bytes | DataError]],
    fit: ImageFit,
    proposer: Proposer,
    embed: Embed,
    whole: bool,
    cache: EmbeddingCache | None,
) -> list[Look]:
    found = found if cache is None else [(sample, _content(raw)) for sample, raw in found]
    opened = [(sample, _open(raw, sample.image)) for sample, raw in found]
    readable = [(sample, pixels) for sample, pixels in opened if not isinstance(pixels, str)]
    proposed = propose_for(proposer, [s for s, _ in readable], [pixels for _, pixels in readable]) if readable else []
    regions_of = iter(proposed)
    looks = []
    for (_, raw), (_, pixels) in zip(found, opened, strict=True):
        if isinstance(pixels, str):
            looks.append(Look(skip=pixels))
            continue
        own = next(regions_of)
        boxes = tuple(region.box for region in own) + (_everything(pixels),) * whole
        look = Look(width=pixels.width, height=pixels.height, regions=tuple(own), boxes=boxes)
        looks.append(_with_views(look, pixels, raw, fit, embed, cache))
    return looks


def _with_views(
    look: Look,
    pixels: Image.Image,
    raw: Path | bytes | DataError,
    fit: ImageFit,
    embed: Embed,
    cache: EmbeddingCache | None,
) -> Look:
    if embed == "dense":
        whole = (fit_pixels(pixels, fit),) if look.boxes else ()
        return replace(look, views=whole)
    if cache is None or not isinstance(raw, bytes) or not look.boxes:
        return replace(look, views=tuple(fit_pixels(pixels, fit, box) for box in look.boxes))
    keys = view_keys(raw, look.boxes)
    places = cache.find(keys).tolist()
    views = tuple(fit_pixels(pixels, fit, box) for box, place in zip(look.boxes, places, strict=True) if place < 0)
    return replace(look, views=views, keys=tuple(keys), places=tuple(places))


def _everything(pixels: Image.Image) -> Box:
    return 0, 0, pixels.width, pixels.height


def _content(raw: Path | bytes | DataError) -> Path | bytes | DataError:
    """The file's bytes, by which a cache knows an image; what cannot be read stays, for `read_image` to say why."""
    try:
        return raw.read_bytes() if isinstance(raw, Path) and raw.is_file() else raw
    except OSError:
        return raw


def _find(images: ImageStore, uri: str) -> Path | bytes | DataError:
    try:
        return images.open(uri)
    except DataError as error:
        return error


def _open(raw: Path | bytes | DataError, uri: str) -> Image.Image | str:
    """The upright image, or the reason why there is none."""
    try:
        return raw.what if isinstance(raw, DataError) else read_image(raw, where=uri)
    except DataError as error:
        return error.what


def embed_candidates(
    encoder: DualEncoder, looks: Iterable[Look], embed: Embed, batch: int, cache: EmbeddingCache | None = None
) -> list[Candidates]:
    """The candidates of every look, in order. Looks are drawn only as fast as they are encoded.

    Args:
        looks: made for the same `embed`, and with the same cache.
        batch: views per forward pass.
        cache: has the crops that were not cut, and keeps the others (`dense` candidates are not kept).
    """
    return _embed_crops(encoder, looks, batch, cache) if embed == "crops" else _embed_dense(encoder, looks, batch)


def _embed_crops(
    encoder: DualEncoder, looks: Iterable[Look], batch: int, cache: EmbeddingCache | None
) -> list[Candidates]:
    counts: list[int] = []
    keys: list[bytes] = []
    places: list[int] = []

    def views() -> Iterator[View]:
        for look in looks:
            counts.append(len(look.boxes))
            keys.extend(look.keys)
            places.extend(look.places)
            yield from look.views

    crops_ND = embed_images(encoder, views(), batch=batch)
    if cache is not None:
        crops_ND = cache.filled(keys, np.array(places, np.int64), crops_ND)
    return [
        Candidates(embedding_CD=crops_CD, seen_C=np.ones(len(crops_CD), bool)) for crops_CD in cut(crops_ND, counts)
    ]


def _embed_dense(encoder: DualEncoder, looks: Iterable[Look], batch: int) -> list[Candidates]:
    rest, found = iter(looks), list[Candidates]()
    with inference(encoder):
        while some := list(islice(rest, batch)):
            found += _dense(encoder, some)
    return found


def _dense(encoder: DualEncoder, looks: Sequence[Look]) -> list[Candidates]:
    """From one forward pass over the images that have candidates."""
    weights = [_weights(look, encoder) for look in looks]
    pooled_ND = np.empty((0, encoder.dim), np.float32)
    views, read = [look.views[0] for look in looks if look.views], [own_CP for own_CP in weights if len(own_CP)]
    for pixels_BCHW in pixel_batches(encoder, views, len(looks)):
        patches_BPW = encoder.encode_images(pixels_BCHW).patches_BPW.float()
        pools = [pool(one_PW[None], own_CP[None])[0] for one_PW, own_CP in zip(patches_BPW, read, strict=True)]
        pooled_ND = encoder.project_patches(torch.cat(pools)).cpu().numpy()
    parts = cut(pooled_ND, [len(own_CP) for own_CP in weights])
    return [
        Candidates(embedding_CD=own_CD, seen_C=own_CP.any(dim=1).numpy())
        for own_CD, own_CP in zip(parts, weights, strict=True)
    ]


def _weights(look: Look, encoder: DualEncoder) -> torch.Tensor:
    """How much each patch counts for each candidate, C x P; zeros for one that the image fit cuts away."""
    sizes_C2 = [(look.width, look.height)] * len(look.boxes)
    return torch.from_numpy(patch_weights(look.boxes, sizes_C2, encoder.fit, encoder.grid, rule=PATCH_RULE))


def cut(rows_ND: Floats, counts: Sequence[int]) -> list[Floats]:
    """Rows as one array per count, in order."""
    return np.split(rows_ND, np.cumsum(counts)[:-1]) if counts else []
