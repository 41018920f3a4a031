"""Vision-language models of the real architectures, a few thousand random weights each, as plain transformers folders.
What they write is nonsense, but the same nonsense every time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

SIDE = 28
CORPUS = """A red ball lies on the left of the wooden table. A small blue box stands on the right, by a green lamp. In
the middle of the room there is a large yellow chair with two striped cushions. Behind it, a white window is open."""
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
LONG_TEXT = {**TEXT, "num_key_value_heads": 2, "max_position_embeddings": 2048}
VISION: dict[str, Any] = {**TEXT, "image_size": SIDE, "patch_size": 14}
CROPPED = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
SQUARE = {"size": {"height": SIDE, "width": SIDE}}
PINPOINTS = [[28, 56], [56, 28], [56, 56]]
CHAT = (
    "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT:"
)


def tokenizer(*special: str, **names: Any) -> hf.PreTrainedTokenizerFast:
    learner = Tokenizer(tokenizer_models.BPE())
    learner.pre_tokenizer, learner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokens = ["<pad>", "<s>", "</s>", "<unk>", *special]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False, special_tokens=tokens)
    learner.train_from_iterator([CORPUS], trainer)
    usual = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=learner, **usual, **names)


def ids(own: hf.PreTrainedTokenizerFast) -> dict[str, int]:
    named = {name: getattr(own, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return {"vocab_size": len(own), **named}


def chat(image: str) -> str:
    return CHAT.replace("IMAGE", image)


Built = tuple[Any, Any]


def llava() -> Built:
    own = tokenizer("<image>")
    image = own.convert_tokens_to_ids("<image>")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=hf.LlamaConfig(**LONG_TEXT, **ids(own)),
        image_token_id=image,
    )
    processor = hf.LlavaProcessor(
        CLIPImageProcessorPil(**CROPPED),
        own,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>"),
    )
    return hf.LlavaForConditionalGeneration(config), processor


def llava_next() -> Built:
    own = tokenizer("<image>")
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=hf.LlamaConfig(**LONG_TEXT, **ids(own)),
        image_token_id=own.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
    )
    processor = hf.LlavaNextProcessor(
        LlavaNextImageProcessorPil(**CROPPED, image_grid_pinpoints=PINPOINTS),
        own,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>"),
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def idefics2() -> Built:
    own = tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>")
    resampler = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 8}
    config = hf.Idefics2Config(
        vision_config=dict(VISION),
        perceiver_config={**resampler, "num_key_value_heads": 1},
        text_config={"model_type": "mistral", **LONG_TEXT, **ids(own)},
        image_token_id=own.convert_tokens_to_ids("<image>"),
    )
    images = Idefics2ImageProcessorPil(size={"longest_edge": SIDE, "shortest_edge": 14}, do_image_splitting=False)
    processor = hf.Idefics2Processor(images, own, image_seq_len=4, chat_template=chat("<image>"))
    return hf.Idefics2ForConditionalGeneration(config), processor


def idefics3() -> Built:
    places = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    own = tokenizer("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *places)
    config = hf.Idefics3Config(
        vision_config=dict(VISION),
        text_config={"model_type": "llama", **LONG_TEXT, **ids(own)},
        image_token_id=own.convert_tokens_to_ids("<image>"),
        pad_token_id=own.pad_token_id,
        scale_factor=2,
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
    processor = hf.Idefics3Processor(images, own, image_seq_len=1, chat_template=chat("<image>"))
    return hf.Idefics3ForConditionalGeneration(config), processor


def gemma3() -> Built:
    named = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    own = tokenizer(*named.values(), extra_special_tokens=named)
    image, begin, end = (own.convert_tokens_to_ids(token) for token in named.values())
    config = hf.Gemma3Config(
        vision_config={**VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config={"head_dim": 16, "sliding_window": 64, **LONG_TEXT, **ids(own)},
        mm_tokens_per_image=1,
        image_token_index=image,
        boi_token_index=begin,
        eoi_token_index=end,
    )
    processor = hf.Gemma3Processor(
        Gemma3ImageProcessorPil(**SQUARE), own, image_seq_length=1, chat_template=chat("<start_of_image>")
    )
    return hf.Gemma3ForConditionalGeneration(config), processor


def paligemma() -> Built:
    own = tokenizer("<image>")
    config = hf.PaliGemmaConfig(
        vision_config={**VISION, "model_type": "siglip_vision_model", "projection_dim": 32},
        text_config={"model_type": "gemma", "head_dim": 16, **LONG_TEXT, **ids(own)},
        image_token_index=own.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
    )
    images = SiglipImageProcessorPil(**SQUARE)
    images.image_seq_length = 4
    return hf.PaliGemmaForConditionalGeneration(config), hf.PaliGemmaProcessor(images, own)


def git() -> Built:
    own = tokenizer("[CLS]", "[SEP]", cls_token="[CLS]", sep_token="[SEP]")
    known = {**ids(own), "bos_token_id": own.cls_token_id, "eos_token_id": own.sep_token_id}
    config = hf.GitConfig(vision_config=dict(VISION), **TEXT, max_position_embeddings=256, **known)
    return hf.GitForCausalLM(config), hf.GitProcessor(CLIPImageProcessorPil(**CROPPED), own)


def blip() -> Built:
    own = tokenizer("[CLS]", "[SEP]", cls_token="[CLS]", sep_token="[SEP]")
    known = {**ids(own), "bos_token_id": own.cls_token_id, "eos_token_id": own.sep_token_id}
    text = {**TEXT, **known, "sep_token_id": own.sep_token_id, "encoder_hidden_size": 32, "projection_dim": 32}
    config = hf.BlipConfig(
        text_config={**text, "max_position_embeddings": 256}, vision_config=dict(VISION), projection_dim=32
    )
    return hf.BlipForConditionalGeneration(config), hf.BlipProcessor(BlipImageProcessorPil(**SQUARE), own)


def blip2() -> Built:
    own = tokenizer("<image>")
    opt = {"model_type": "opt", "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = hf.Blip2Config(
        vision_config=dict(VISION),
        qformer_config={**TEXT, "encoder_hidden_size": 32, "vocab_size": 100},
        text_config={**opt, "word_embed_proj_dim": 32, "max_position_embeddings": 512, **ids(own)},
        num_query_tokens=4,
        image_token_index=own.convert_tokens_to_ids("<image>"),
    )
    processor = hf.Blip2Processor(BlipImageProcessorPil(**SQUARE), own, num_query_tokens=4)
    return hf.Blip2ForConditionalGeneration(config), processor


def kosmos2() -> Built:
    own = tokenizer("<image>", "</image>")
    text = {"embed_dim": 32, "layers": 2, "ffn_dim": 64, "attention_heads": 2, "max_position_embeddings": 512}
    config = hf.Kosmos2Config(
        text_config={**text, **ids(own), "vocab_size": len(own) + 1100},
        vision_config={**VISION, "model_type": "kosmos_2_vision_model"},
        latent_query_num=64,
    )
    processor = hf.Kosmos2Processor(CLIPImageProcessorPil(**CROPPED), own, num_patch_index_tokens=1024)
    return hf.Kosmos2ForConditionalGeneration(config), processor


CHATTING: dict[str, Callable[[], Built]] = {
    "llava": llava, "llava-next": llava_next, "idefics2": idefics2, "idefics3": idefics3, "gemma3": gemma3,
}  # fmt: skip
"""Asked through a chat template."""
UNASKED: dict[str, Callable[[], Built]] = {"git": git, "blip": blip, "blip-2": blip2}
"""Caption an image without a word."""
PROMPTED: dict[str, Callable[[], Built]] = {"paligemma": paligemma, "kosmos-2": kosmos2}
"""Have no chat template and want a text."""


def save(build: Callable[[], Built], folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model, processor = build()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
