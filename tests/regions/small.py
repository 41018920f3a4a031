"""Small random models of the real architectures, saved as plain transformers folders."""

from pathlib import Path

import torch
from tests.conftest import small_tokenizer
from transformers import (
    Owlv2Config,
    Owlv2ForObjectDetection,
    OwlViTConfig,
    OwlViTForObjectDetection,
    SamConfig,
    SamModel,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

SIDE = 64
"""Of SAM's square; its masks are 32 x 32 here."""


def save_small_sam(folder: Path, seed: int = 16) -> Path:
    """A SAM of two layers, 16 wide. Its weights are spread, so that with this seed its masks differ between points."""
    sides = {"image_size": SIDE, "patch_size": 8}
    vision = {
        **sides, "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8, "initializer_range": 0.1,
    }  # fmt: skip
    decoder = {
        "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 8,
        "iou_head_depth": 2,
    }  # fmt: skip
    prompt = {**sides, "hidden_size": 16, "mask_input_channels": 4}
    torch.manual_seed(seed)
    sam = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder))
    with torch.no_grad():
        for parameter in sam.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.35)
        for layer in (sam.mask_decoder.upscale_conv1, sam.mask_decoder.upscale_conv2):
            layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True))  # masks of whole patches, not of single pixels
    square, coarse = {"height": SIDE, "width": SIDE}, {"height": SIDE // 2, "width": SIDE // 2}
    processor = SamImageProcessorPil(
        size={"longest_edge": SIDE}, pad_size=square, mask_size={"longest_edge": SIDE // 2}, mask_pad_size=coarse
    )
    sam.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


OWLS = {
    "owlv2": (Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessorPil),
    "owlvit": (OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessorPil),
}


def save_small_owl(folder: Path, kind: str = "owlv2", seed: int = 0) -> Path:
    """An OWLv2 or OWL-ViT of one layer, 16 wide, 48 px in patches of 8, with the little CLIP tokenizer cut at 16."""
    config_class, model_class, processor_class = OWLS[kind]
    tokenizer = small_tokenizer(16)
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {**tower, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    vision = {**tower, "image_size": 48, "patch_size": 8}
    torch.manual_seed(seed)
    owl = model_class(config_class(text_config=text, vision_config=vision, projection_dim=16))
    with torch.no_grad():
        for parameter in owl.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    owl.eval().save_pretrained(folder)
    processor_class(size={"height": 48, "width": 48}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
