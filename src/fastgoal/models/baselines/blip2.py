"""BLIP-2's image-text contrast (arXiv 2301.12597, section 3.2), for evaluation only.

Its Q-Former turns an image into K query vectors and a text into one. The similarity of an image and a text is that of
the *best* query vector, so an image here has K embeddings, and retrieval takes the greatest product.

The matching head reads image and text together: query vectors and text tokens go through the Q-Former side by side,
each query vector gives a logit for "they match", and the mean of these is the pair's. It needs a pass for every pair,
so it only re-ranks the first candidates (section 4.4).

Text is masked, so padding to the longest of a batch is safe. The position table has 512 rows, from BERT; BLIP-2 itself
was trained on texts of 32 tokens, which `text_tokens=32` gives.

Shapes: B items, C channels, H x W pixels, T tokens, K query vectors, D joint dimensions, S positions (class token and
patches) and V width of the image tower.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import Blip2ForImageTextRetrieval
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from fastgoal.devices import to_device
from fastgoal.models.families.clip import unit
from fastgoal.models.families.fits import fit_of
from fastgoal.models.families.traits import Traits
from fastgoal.models.fingerprint import fingerprint
from fastgoal.models.folder import read_parts
from fastgoal.models.longtext import check_cut
from fastgoal.models.retriever import Embedded
from fastgoal.models.tokens import TextBatch, tokenize, tokenizer_facts

MODEL_TYPE = "blip-2"
TRAITS = Traits(
    title="BLIP-2", projects_parts=False, stretches=False, pads_to_limit=False, loss="softmax", max_logit_scale=None
)


class Blip2Retriever(nn.Module):
    """A `Retriever` and `Reranker` of `Blip2ForImageTextRetrieval`.

    Args:
        model: the transformers model, in float32.
        tokenizer, image_processor: its own.
        text_tokens: the text limit; None is the most it can read.
    """

    traits = TRAITS

    def __init__(
        self, model: Any, tokenizer: Any, image_processor: Any, *, name: str = "", text_tokens: int | None = None
    ) -> None:
        super().__init__()
        most = int(model.config.qformer_config.max_position_embeddings)
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.text_limit = check_cut(text_tokens, most, f"{TRAITS.title} ({name})")
        self.fit = fit_of(image_processor, model.config.vision_config.image_size, name)
        self.tokenizer.padding_side = "right"

    @classmethod
    def load(cls, name: str, *, device: str = "cpu", text_tokens: int | None = None) -> "Blip2Retriever":
        """Load a folder or hub id, in float32.

        Raises:
            ModelError: as `DualEncoder.load`; a BLIP-2 that generates text, without the heads of retrieval.
        """
        parts = read_parts(name, Blip2ForImageTextRetrieval, BlipImageProcessorPil)
        return to_device(cls(*parts, name=name, text_tokens=text_tokens), device)

    @property
    def dim(self) -> int:
        """Dimensions D of the joint space."""
        return int(self.model.config.image_text_hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over weights, image fit and tokenizer."""
        config = self.model.config
        shapes = [config.qformer_config.num_attention_heads, config.vision_config.num_attention_heads]
        facts = [MODEL_TYPE, shapes, repr(self.fit), tokenizer_facts(self.tokenizer)]
        return fingerprint(self.model.state_dict(), facts)

    def tokenize(self, texts: Sequence[str]) -> TextBatch:
        """Texts as tokens, without the image's placeholder tokens that transformers' processor adds and its model drops
        again.
        """
        return tokenize(self.tokenizer, texts, self.text_limit)

    def encode_images(self, pixels_BCHW: torch.Tensor) -> Embedded:
        """K vectors of each image, B x K x D, each of length one."""
        seen_BSV = self.see_images(pixels_BCHW)
        queries = self.model.query_tokens.expand(len(seen_BSV), -1, -1)
        read = self.model.qformer(query_embeds=queries, encoder_hidden_states=seen_BSV).last_hidden_state
        return Embedded(embedding_BD=unit(self.model.vision_projection(read)))

    def see_images(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """The image tower's last layer, B x S x V: what the Q-Former reads images from."""
        seen_BSV: torch.Tensor = self.model.vision_model(pixel_values=pixels_BCHW).last_hidden_state
        return seen_BSV

    def encode_texts(self, texts: TextBatch) -> Embedded:
        """One vector of each text, read at its first token."""
        embedded = self.model.embeddings(input_ids=texts.input_ids_BT)
        read = self.model.qformer(query_embeds=embedded, query_length=0, attention_mask=texts.attention_mask_BT)
        return Embedded(embedding_BD=unit(self.model.text_projection(read.last_hidden_state[:, 0])))

    def rerank(self, seen_BSV: torch.Tensor, texts: TextBatch) -> torch.Tensor:
        """The matching head's logit for "image b and text b match", B."""
        queries = self.model.query_tokens.expand(len(seen_BSV), -1, -1)
        count, mask_BT = queries.shape[1], texts.attention_mask_BT
        read = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=texts.input_ids_BT, query_embeds=queries),
            query_length=count,
            attention_mask=torch.cat([mask_BT.new_ones(len(mask_BT), count), mask_BT], dim=1),
            encoder_hidden_states=seen_BSV,
        )
        logits_BK2: torch.Tensor = self.model.itm_head(read.last_hidden_state[:, :count])
        return logits_BK2[:, :, 1].mean(1).float()
