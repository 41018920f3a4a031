"""Small random models of every family's real architecture, saved as plain transformers folders with stock code only."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPProcessor,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
    XLMRobertaTokenizer,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

CORPUS = """A red ball lies on the left of the wooden table. A small blue box stands on the right, by a green lamp.
In the middle of the room there is a large yellow chair with two striped cushions. Ein altes Haus am See, 3.5 m hoch."""
TOWER = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}


def unigram(specials: list[str]) -> Tokenizer:
    """A little SentencePiece-like tokenizer: pieces begin with the space before them. Its pieces are the corpus's
    characters and the first halves of its words, longer ones likelier; a trainer would give others at every call."""
    words = ["▁" + word for word in CORPUS.split()]
    pieces = sorted({*"▁", *"".join(words), *(word[: 1 + len(word) // 2] for word in words)})
    scores = [0.0] * len(specials) + [-10 - 1 / len(piece) for piece in pieces]
    vocabulary = list(zip([*specials, *pieces], scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=specials.index("<unk>")))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def xlmr_tokenizer() -> XLMRobertaTokenizer:
    """XLM-R's own class with a little vocabulary; the end token is 2, as in MetaCLIP 2's released weights."""
    pieces = unigram(["<s>", "<pad>", "</s>", "<unk>"])
    size = pieces.get_vocab_size()
    vocab = [(pieces.id_to_token(i), -float(i) / 50 if i > 3 else 0.0) for i in range(size)]
    return XLMRobertaTokenizer(vocab=[*vocab, ("<mask>", 0.0)])


def siglip_tokenizer() -> PreTrainedTokenizerFast:
    """As SigLIP's tokenizer.json: lower case, one end token that is the padding too, no attention mask."""
    tokenizer = unigram(["<unk>", "</s>"])
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "</s>", "model_input_names": ["input_ids"]}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


def shaken(model: Any) -> Any:
    """Norms, biases and positions away from their plain start, so that leaving one out shows."""
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("bias", "norm", "position_embedding", "token_embedding", "probe")):
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def save_metaclip_2(folder: Path, *, patch: int = 8) -> Path:
    """A small MetaCLIP 2: 32 px, 77 text positions."""
    tokenizer = xlmr_tokenizer()
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    text = {**TOWER, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 77, "projection_dim": 24}
    vision = {**TOWER, "image_size": 32, "patch_size": patch, "projection_dim": 24}
    torch.manual_seed(0)
    model = shaken(MetaClip2Model(MetaClip2Config(text_config=text, vision_config=vision, projection_dim=24)))
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _save(folder, model, CLIPProcessor(images, tokenizer))


def save_siglip(folder: Path, *, size: int = 34) -> Path:
    """A small SigLIP: 64 text positions, and a side that patches of 8 px do not divide, as so400m's 384 and 14."""
    tokenizer = siglip_tokenizer()
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 24}
    vision = {**TOWER, "hidden_size": 24, "image_size": size, "patch_size": 8}
    ids = {"bos_token_id": None, "pad_token_id": 1, "eos_token_id": 1}
    torch.manual_seed(0)
    model = shaken(SiglipModel(SiglipConfig(text_config={**text, **ids}, vision_config=vision)))
    model.logit_scale.data.fill_(4.76)
    model.logit_bias.data.fill_(-12.9)
    images = SiglipImageProcessorPil(size={"height": size, "width": size})
    return _save(folder, model, SiglipProcessor(images, tokenizer))


def _save(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    return folder
