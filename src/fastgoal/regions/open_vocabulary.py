"""Regions from the caption's own words: an open-vocabulary detector, prompted with the phrases of each caption.

A closed detector knows 80 or 91 names; a paragraph names other things. OWLv2 (arXiv 2306.09683) scores its boxes
against any text, so here it is asked for the runs of content words of each caption (see `phrases`), and a box carries
the phrase that it answers. Neither GOAL nor FAST-GOAL does this.

Shapes: B images of a batch; Q phrases per image, padded; L tokens per phrase.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection

from fastgoal.data.samples import Sample
from fastgoal.devices import to_device
from fastgoal.errors import ConfigError
from fastgoal.regions import phrases
from fastgoal.regions.detector import expect_score, read_detection
from fastgoal.regions.loading import PROMPTED_DETECTORS, Kind, load, load_tokenizer
from fastgoal.regions.region import Region
from fastgoal.regions.select import Limits

DEFAULT_OPEN_VOCABULARY = "google/owlv2-base-patch16-ensemble"
KIND = Kind(
    name="an open-vocabulary detector",
    types=PROMPTED_DETECTORS,
    processor="post_process_object_detection",
    example="an OWLv2 or OWL-ViT",
    files="config.json, weights, preprocessor_config.json and tokenizer",
)


class OpenVocabularyRegions:
    """What an OWLv2 or OWL-ViT finds of a caption's phrases, best first; each region is labelled with its phrase.

    Args:
        model: local folder (never touches the network) or hub id.
        score_threshold: boxes must score above it (0.1, as transformers' own pipeline has it).
        nms_iou: of two boxes with a larger IoU only the better one stays, whatever their phrases.
        min_area, max_area: limits on a box's area as shares of the image.
        max_regions: at most so many per image.
        max_phrases: at most so many phrases of a caption, the first ones.
        batch: images per forward pass.
        device: where the detector runs.

    Raises:
        ConfigError: a setting is out of range.
        ModelError: `model` is no open-vocabulary detector, or cannot be loaded; a device that is not there.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_OPEN_VOCABULARY,
        *,
        score_threshold: float = 0.1,
        nms_iou: float = 0.7,
        min_area: float = 0.01,
        max_area: float = 0.8,
        max_regions: int = 20,
        max_phrases: int = 32,
        batch: int = 4,
        device: str | torch.device = "cpu",
    ) -> None:
        for name, value in {"max_phrases": max_phrases, "batch": batch}.items():
            if value < 1:
                raise ConfigError(f"{value} is too small", where=name, mend="Give 1 or more.")
        expect_score(score_threshold)
        self.limits = Limits(min_area=min_area, max_area=max_area, nms_iou=nms_iou, max_regions=max_regions)
        self.score_threshold, self.max_phrases, self.phrase_list = score_threshold, max_phrases, phrases.LIST
        self.name, self.batch = str(model), batch
        self.processor, self.model = load(model, KIND, AutoModelForZeroShotObjectDetection)
        self.tokenizer = load_tokenizer(model, KIND, self.model.config.text_config.vocab_size)
        to_device(self.model, device)
        self.device = torch.device(device)

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        """Refused: an image alone has no words.

        Raises:
            ConfigError: always, unless there is no image.
        """
        if images:
            mend = "Choose --regions proposals or detector for images without captions."
            raise ConfigError("an open-vocabulary detector looks for a caption's words", where="regions", mend=mend)
        return []

    def reads(self, sample: Sample) -> Hashable:
        return sample.caption

    def propose_for(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[list[Region]]:
        """Regions of each sample's upright RGB image; none where the caption has no phrase or nothing is found."""
        asked = [phrases.candidate_phrases(sample.caption, self.max_phrases) for sample in samples]
        regions: list[list[Region]] = [[] for _ in images]
        worded = [index for index, own in enumerate(asked) if own]
        for start in range(0, len(worded), self.batch):
            some = worded[start : start + self.batch]
            detections = self._detect([images[i] for i in some], [asked[i] for i in some])
            for index, detection in zip(some, detections, strict=True):
                regions[index] = read_detection(detection, images[index], self.limits, asked[index].__getitem__)
        return regions

    @torch.inference_mode()
    def _detect(self, images: Sequence[Image.Image], asked: Sequence[list[str]]) -> list[dict[str, torch.Tensor]]:
        ids_BQL, attention_BQL = self._prompts(asked)
        inputs = self.processor(images=list(images), return_tensors="pt")
        outputs = self.model(
            pixel_values=inputs["pixel_values"].to(self.device),
            input_ids=ids_BQL.flatten(0, 1).to(self.device),
            attention_mask=attention_BQL.flatten(0, 1).to(self.device),
        )
        sizes_B2 = torch.tensor([(image.height, image.width) for image in images], device=self.device)
        # The family's own reading: OWLv2 pads to a square, so its boxes are shares of the long side; OWL-ViT squashes.
        detections: list[dict[str, torch.Tensor]] = self.processor.post_process_object_detection(
            outputs, threshold=self.score_threshold, target_sizes=sizes_B2
        )
        return detections

    def _prompts(self, asked: Sequence[list[str]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention, B x Q x L. A row that begins with id 0 is none: the model masks its scores."""
        most, length = max(map(len, asked)), self.model.config.text_config.max_position_embeddings
        texts = [phrase for own in asked for phrase in own]
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
            return_attention_mask=True,
        )
        ids_BQL = torch.zeros(len(asked), most, length, dtype=torch.long)
        attention_BQL = torch.ones_like(ids_BQL)
        filled_BQ = torch.tensor([[place < len(own) for place in range(most)] for own in asked])
        ids_BQL[filled_BQ], attention_BQL[filled_BQ] = tokens["input_ids"], tokens["attention_mask"]
        return ids_BQL, attention_BQL
