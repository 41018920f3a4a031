"""Zero-shot classification: an image belongs to the class whose name, put into sentences, is most similar to it.

A class is one direction in the joint space: the mean over templates t of the unit embeddings of its prompts, at unit
length again (CLIP, section 3.1.4),

    w_c = norm(mean_t norm(text(t with the name of c))),        prediction = argmax_c <norm(image), w_c>.

top-k is the share of images whose class is among the k most similar (ties count against it). `per-class top-k` is the
mean over the classes of their own shares, by weights: image i of class c counts N / (C n_c), whose mean over the images
is just that. So every figure is a mean of one value per image, and intervals and paired comparisons work as elsewhere;
they resample images with the weights held.

Shapes: N images, C classes, M templates, D joint dimensions.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fastgoal.ahead import look_ahead
from fastgoal.data.images import fit_pixels
from fastgoal.data.labelled import LabelledImage, LabelledSource
from fastgoal.data.labelled.source import Raw
from fastgoal.data.source import tally
from fastgoal.embed import View, embed_images, embed_texts
from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation.metrics import first_relevant_rank, recall_at
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol
from fastgoal.evaluation.results import EvalResult, Queries, make_result
from fastgoal.evaluation.templates import PLAIN, prompts
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.progress import Progress

Floats = npt.NDArray[np.float32]


def evaluate_classification(
    encoder: DualEncoder,
    source: LabelledSource,
    *,
    templates: Sequence[str] = PLAIN,
    protocol: Protocol = PROTOCOLS["classification"],
    batch: int = 64,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
) -> EvalResult:
    """Top-k accuracy of images among the classes of `source`.

    An image that cannot be read is left out, counted and named in the result. A class without images is still one to be
    mistaken for; the means over classes are over those with images.

    Args:
        templates: sentences with `{}` where the name of a class goes (`templates_named`).
        batch: images (and four times as many prompts) embedded at once.
        seed: of the bootstrap. workers: threads that decode. progress: show a bar on standard error.

    Raises:
        DataError: fewer than two classes, no readable image, or not the number of images that the protocol pins.
        ConfigError: no template, or a model and protocol that do not fit together.
    """
    begin = time.perf_counter()
    protocol.expect("classification", encoder)
    if len(source.classes) < 2:
        raise DataError(f"{len(source.classes)} class", where=source.root, mend="Classification needs at least two.")
    class_CD, cut_share = embed_classes(encoder, source.classes, templates, batch=4 * batch)
    seen: list[LabelledImage] = []
    lost: list[DataError] = []
    with Progress(len(source), "classify", "image", show=progress) as bar:
        views = _readable(source, encoder, seen, lost, workers)
        image_ND = embed_images(encoder, views, batch=batch, progress=bar.update)
    if not seen:
        what = f"0 of {len(source)} images can be used" + (f" (first: {lost[0]})" if lost else "")
        raise DataError(what, where=source.root, mend="Mend the images, or name their folder with --root.")
    protocol.expect_items(len(seen))
    label_N = np.array([item.label for item in seen])
    count_C = np.bincount(label_N, minlength=len(source.classes))
    problems = source.problems + tally(lost)
    return make_result(
        encoder,
        protocol,
        {"i2t": _accuracies(seen, image_ND, class_CD, count_C, protocol.ks)},
        items=len(seen),
        truncated_share=cut_share,
        seconds=time.perf_counter() - begin,
        seed=seed,
        chance={f"top-{k}": 100 * min(1.0, k / len(source.classes)) for k in protocol.ks},
        counts={
            "images": len(seen),
            "classes": len(source.classes),
            "classes_without_images": int((count_C == 0).sum()),
            "templates": len(templates),
            "skipped": len(problems),
        },
        skipped=problems,
    )


def embed_classes(
    encoder: DualEncoder, names: Sequence[str], templates: Sequence[str], *, batch: int = 256
) -> tuple[Floats, float]:
    """One direction per class, C x D of unit length, and the share of prompts cut at the text limit, 0..1.

    Raises:
        ConfigError: no template, or one without `{}`.
    """
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        what = f"the template {wrong[0]!r} has no {{}}" if wrong else "no template"
        raise ConfigError(what, where="templates", mend="Write {} where the name of the class goes.")
    sum_CD, cut = np.zeros((len(names), encoder.dim), np.float64), 0
    for template in templates:  # one at a time: a thousand classes in eighty sentences need not be held at once
        text_CD, cut_C = embed_texts(encoder, prompts(template, tuple(names)), batch=batch)
        sum_CD, cut = sum_CD + text_CD, cut + int(cut_C.sum())
    class_CD = sum_CD / np.linalg.norm(sum_CD, axis=1, keepdims=True)
    return class_CD.astype(np.float32), cut / (len(names) * len(templates))


def _readable(
    source: LabelledSource, encoder: DualEncoder, seen: list[LabelledImage], lost: list[DataError], workers: int
) -> Iterator[View]:
    """The views of the images that can be read, and a note of which those are."""

    def opened() -> Iterator[tuple[LabelledImage, Raw | DataError]]:
        for item in source.items:
            try:
                yield item, source.raw(item)
            except DataError as error:
                yield item, error

    def view(opened: tuple[LabelledImage, Raw | DataError]) -> View | DataError:
        item, raw = opened
        try:
            return raw if isinstance(raw, DataError) else fit_pixels(source.picture(item, raw), encoder.fit)
        except DataError as error:
            return error

    for item, made in zip(source.items, look_ahead(view, opened(), workers), strict=True):
        if isinstance(made, DataError):
            lost.append(made)
        else:
            seen.append(item)
            yield made


def _accuracies(
    seen: Sequence[LabelledImage],
    image_ND: Floats,
    class_CD: Floats,
    count_C: npt.NDArray[np.int64],
    ks: tuple[int, ...],
) -> Queries:
    id_N, label_N = np.array([item.id for item in seen]), np.array([item.label for item in seen])
    rank_N = first_relevant_rank(image_ND, class_CD, label_N, np.arange(len(class_CD)))
    weight_N = len(seen) / ((count_C > 0).sum() * count_C[label_N])
    values = {f"top-{k}": recall_at(rank_N, k) for k in ks}
    values |= {f"per-class top-{k}": recall_at(rank_N, k) * weight_N for k in ks}
    return Queries(id_Q=id_N, image_Q=id_N, rank_Q=rank_N, values=values)
