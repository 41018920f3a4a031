"""The obvious way of doing each stage, for benchmarks to compare with; nothing but `bench` imports it.

Written from a description of how GOAL's released code works (no line of it was seen here), with its costs and without
its mistakes where a mistake costs no time.

Shapes: B samples, T tokens, P patches, W tower width, D joint dimensions, Q queries, N items.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn.functional import cross_entropy, normalize

from fastgoal.bench.workload import Samples
from fastgoal.data.images import fit_pixels, normalise, read_image
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.embed import View
from fastgoal.geometry import Box, ImageFit
from fastgoal.losses import LossWeights
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import LocalPair, PairsRow
from fastgoal.regions import SamRegions, masks
from fastgoal.regions.region import Proposer, Region, propose_for
from fastgoal.regions.select import select

PATCH = 16
"""Fixed in the released code; right for ViT-B/16."""


@dataclass(frozen=True, kw_only=True)
class ReferenceStep:
    """The loss terms of a training step as the released code makes them.

    Whole images with captions, and crops with sentences, go through both towers twice: once for their embeddings,
    which are contrasted, and once for their hidden states, from which the token similarity loss takes its pools and
    the local embeddings that it compares them with. Every text is padded to the text limit. Sample by sample, the
    caption's prefix and sentence are tokenised once more to find the sentence's tokens, and both pools are made.

    Of the released mappings, the box is scaled as if the image were square (right for square images), patches are 16
    pixels wide; the sentence's place is right here, where the released code is one token off.

    as_released: with anomaly detection, and every sample printed (to nowhere).
    """

    encoder: DualEncoder
    samples: Samples
    weights: LossWeights
    as_released: bool = False

    def __call__(self, rows: Sequence[PairsRow]) -> dict[str, torch.Tensor]:
        """Scalars by name: `loss`, and the unweighted terms. Every row has a pair."""
        pairs = [row.pairs[0] for row in rows]
        boxes = [row.regions[pair.region].box for row, pair in zip(rows, pairs, strict=True)]
        spans = [row.sentences[pair.sentence] for row, pair in zip(rows, pairs, strict=True)]
        sentences = [row.caption[slice(*span)] for row, span in zip(rows, spans, strict=True)]
        whole = self._pixels(rows, [None] * len(rows)), self._tokens([row.caption for row in rows])
        local = self._pixels(rows, boxes), self._tokens(sentences)
        scale = self.encoder.model.logit_scale.exp()
        terms = {
            "global": _contrast(*self._embeddings(*whole), scale),
            "local": _contrast(*self._embeddings(*local), scale),
            "tsl": self._tsl(rows, boxes, spans, self._hidden(*whole), self._hidden(*local), local[1]),
        }
        loss = self.weights.global_ * terms["global"] + self.weights.local * terms["local"]
        return {"loss": loss + self.weights.tsl * terms["tsl"], **terms}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """What is switched on around forward and backward."""
        if not self.as_released:
            yield
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Anomaly Detection")  # that it is slow is the point
            with torch.autograd.detect_anomaly(), contextlib.redirect_stdout(io.StringIO()):
                yield

    def _pixels(self, rows: Sequence[PairsRow], boxes: Sequence[Box | None]) -> torch.Tensor:
        views = [torch.from_numpy(self.samples(row, [box])[0]) for row, box in zip(rows, boxes, strict=True)]
        return normalise(torch.stack(views).to(self.encoder.device), self.encoder.fit)

    def _tokens(self, texts: Sequence[str]) -> torch.Tensor:
        options = {"padding": "max_length", "truncation": True, "max_length": self.encoder.text_limit}
        encoded = self.encoder.tokenizer(list(texts), return_tensors="pt", **options)
        ids: torch.Tensor = encoded["input_ids"]
        return ids.to(self.encoder.device)

    def _embeddings(self, pixels: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        model = self.encoder.model
        image = model.get_image_features(pixel_values=pixels).pooler_output
        text = model.get_text_features(input_ids=ids).pooler_output
        return normalize(image, dim=-1), normalize(text, dim=-1)

    def _hidden(self, pixels: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The last layer's states of both towers, before their final norms."""
        model = self.encoder.model
        image = model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
        text = model.text_model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        return image, text

    def _tsl(
        self,
        rows: Sequence[PairsRow],
        boxes: Sequence[Box],
        spans: Sequence[tuple[int, int]],
        whole: tuple[torch.Tensor, torch.Tensor],
        local: tuple[torch.Tensor, torch.Tensor],
        local_ids: torch.Tensor,
    ) -> torch.Tensor:
        losses = []
        for i, (row, box, span) in enumerate(zip(rows, boxes, spans, strict=True)):
            if self.as_released:
                print(row.caption, row.caption[slice(*span)])
            end = int((local_ids[i] == self.encoder.tokenizer.eos_token_id).int().argmax())
            patches = self._project_image(whole[0][i, 1:][self._patches(row, box)].mean(0))
            tokens = self._project_text(whole[1][i, self._token_span(row.caption, span)].mean(0))
            region, sentence = self._project_image(local[0][i, 0]), self._project_text(local[1][i, end])
            losses.append(((patches @ region - 1) ** 2, (tokens @ sentence - 1) ** 2))
        return sum(torch.stack(list(side)).mean() for side in zip(*losses, strict=True))  # type: ignore[return-value]

    def _project_image(self, state_W: torch.Tensor) -> torch.Tensor:
        model: Any = self.encoder.model
        return normalize(model.visual_projection(model.vision_model.post_layernorm(state_W)), dim=-1)

    def _project_text(self, state_W: torch.Tensor) -> torch.Tensor:
        model: Any = self.encoder.model
        return normalize(model.text_projection(model.text_model.final_layer_norm(state_W)), dim=-1)

    def _patches(self, row: PairsRow, box: Box) -> list[int]:
        """Every patch that the box touches, with the image squashed to the model's input."""
        side = self.encoder.fit.size
        x1, x2 = box[0] * side / row.width, box[2] * side / row.width
        y1, y2 = box[1] * side / row.height, box[3] * side / row.height
        grid = side // PATCH
        columns = [i for i in range(grid) if i * PATCH < x2 and (i + 1) * PATCH > x1]
        return [j * grid + i for j in range(grid) if j * PATCH < y2 and (j + 1) * PATCH > y1 for i in columns]

    def _token_span(self, caption: str, span: tuple[int, int]) -> slice:
        tokenizer = self.encoder.tokenizer
        before = len(tokenizer(caption[: span[0]], add_special_tokens=False)["input_ids"])
        inside = len(tokenizer(caption[slice(*span)], add_special_tokens=False)["input_ids"])
        start, limit = 1 + before, self.encoder.text_limit - 1
        return slice(min(start, limit - 1), min(start + inside, limit))


def _contrast(image_BD: torch.Tensor, text_BD: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    logits_BB = scale * image_BD @ text_BD.T
    labels_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (cross_entropy(logits_BB, labels_B) + cross_entropy(logits_BB.T, labels_B)) / 2


def reference_match(source: Source, encoder: DualEncoder, proposer: Proposer) -> list[LocalPair | None]:
    """The best pair of each sample: images one at a time, each crop and each sentence encoded by itself, texts padded
    to the text limit."""
    found = []
    for sample in source:
        picture = read_image(source.images.open(sample.image))
        regions = propose_for(proposer, [sample], [picture])[0]
        crops = [_encode_image(encoder, fit_pixels(picture, encoder.fit, region.box)) for region in regions]
        spans = split_sentences(sample.caption)
        texts = [_encode_text(encoder, sample.caption[start:end]) for start, end in spans]
        pairs = [
            LocalPair(sentence=s, region=r, similarity=float(text @ crop))
            for s, text in enumerate(texts)
            for r, crop in enumerate(crops)
        ]
        found.append(max(pairs, key=lambda pair: pair.similarity) if pairs else None)
    return found


@torch.no_grad()
def _encode_image(encoder: DualEncoder, view: View) -> torch.Tensor:
    pixels = normalise(torch.from_numpy(view)[None].to(encoder.device), encoder.fit)
    return normalize(encoder.model.get_image_features(pixel_values=pixels).pooler_output[0], dim=-1)


@torch.no_grad()
def _encode_text(encoder: DualEncoder, text: str) -> torch.Tensor:
    options = {"padding": "max_length", "truncation": True, "max_length": encoder.text_limit}
    ids = encoder.tokenizer([text], return_tensors="pt", **options)["input_ids"].to(encoder.device)
    return normalize(encoder.model.get_text_features(input_ids=ids).pooler_output[0], dim=-1)


def joint_map(
    query_QD: torch.Tensor, item_ND: torch.Tensor, query_group: Sequence[int], item_group: Sequence[int], k: int = 10
) -> list[float]:
    """AP@k of every query, by all scores at once and a loop in Python over queries and items.

    Every item of the query's group is right; of equal scores the wrong items stand first.
    """
    sim_QN = query_QD @ item_ND.T
    return [
        _average_precision(sim_N.tolist(), [group == own for group in item_group], k)
        for sim_N, own in zip(sim_QN, query_group, strict=True)
    ]


def _average_precision(scores: list[float], right: list[bool], k: int) -> float:
    order = sorted(range(len(scores)), key=right.__getitem__)
    order.sort(key=scores.__getitem__, reverse=True)  # keeps the order of equal ones
    hits, total = 0, 0.0
    for place, item in enumerate(order[:k], start=1):
        if right[item]:
            hits += 1
            total += hits / place
    return total / sum(right)


def two_decodes(data: bytes, fit: ImageFit, box: Box) -> list[npt.NDArray[np.uint8]]:
    """The views of a whole image and of one of its crops, each from a decode of its own: uint8 H x W x C."""
    return [fit_pixels(read_image(data), fit, view) for view in (None, box)]


@torch.inference_mode()
def full_resolution_regions(sam: SamRegions, image: Image.Image) -> list[Region]:
    """The regions of `sam` from masks of the image's own size, with the same points, filters and limits.

    As Segment Anything's own generator and transformers' pipeline do it: all masks of a batch of points are enlarged,
    then filtered.
    """
    inputs = sam.processor(images=[image], return_tensors="pt")
    frame = masks.Frame.of(image, inputs)
    embedding = sam.model.get_image_embeddings(inputs["pixel_values"].to(sam.device))
    boxes, scores = [], []
    for points_P2 in torch.split(masks.point_grid(sam.points, frame).to(sam.device), sam.batch):
        out = sam.model(image_embeddings=embedding, input_points=points_P2[None, :, None], multimask_output=True)
        boxes_N4, iou_N = full_resolution_boxes(sam, out.pred_masks, out.iou_scores, inputs)
        boxes.append(boxes_N4)
        scores.append(iou_N)
    boxes_N4, iou_N = torch.cat(boxes), torch.cat(scores)
    kept = select(boxes_N4.numpy(), iou_N.numpy(), image.width, image.height, sam.box_limits)
    return [Region(box=box, source="sam", score=min(1.0, float(iou_N[index]))) for box, index in kept]


def full_resolution_boxes(
    sam: SamRegions, logits_1P3HW: torch.Tensor, iou_1P3: torch.Tensor, inputs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounding boxes (N x 4) and predicted IoUs of the masks that pass, once all are enlarged to the image's size.

    Args:
        inputs: what the processor made of the image.
    """
    (full_P3HW,) = sam.processor.post_process_masks(
        logits_1P3HW, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
    )
    return _full_boxes(sam, full_P3HW.flatten(0, 1), iou_1P3.flatten())


def _full_boxes(sam: SamRegions, logits_NHW: torch.Tensor, iou_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounding boxes (N x 4) and predicted IoUs of the masks that pass, mask by mask."""
    boxes, scores = [], []
    for logits_HW, iou in zip(logits_NHW, iou_N, strict=True):
        if iou < sam.iou_threshold:
            continue
        sure, possible = (logits_HW > sam.stability_offset).sum(), (logits_HW > -sam.stability_offset).sum()
        if sure / possible.clamp(min=1) < sam.stability_threshold:
            continue
        mask_HW = logits_HW > 0
        share = float(mask_HW.float().mean())
        if not share or not sam.mask_limits.min_area <= share <= sam.mask_limits.max_area:
            continue
        rows, columns = mask_HW.any(1).nonzero().flatten(), mask_HW.any(0).nonzero().flatten()
        boxes.append(torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).cpu())
        scores.append(iou.cpu())
    return torch.stack(boxes) if boxes else torch.empty(0, 4), torch.stack(scores) if scores else torch.empty(0)
