"""Small models that can be measured only: a random BLIP-2 of the real architecture, and a stand-in for open_clip."""

import sys
from types import SimpleNamespace

import torch
from tests.families import CORPUS
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

TEXTS = ["a red ball", "a large yellow chair with two striped cushions on the left of the table", "lamp"]


def save_blip2(folder):
    words = sorted({*CORPUS.lower().replace(".", " .").replace(",", " ,").split(), *" ".join(TEXTS).split()})
    vocab = {token: i for i, token in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *words])}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folder)
    tower = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    former = {**tower, "vocab_size": len(vocab), "max_position_embeddings": 20, "encoder_hidden_size": 16}
    former["use_qformer_text_input"] = True
    torch.manual_seed(0)
    model = Blip2ForImageTextRetrieval(
        Blip2Config(
            vision_config=Blip2VisionConfig(**tower, image_size=28, patch_size=14, initializer_range=0.2),
            qformer_config=Blip2QFormerConfig(**former),
            num_query_tokens=4,
            image_text_hidden_size=12,
        )
    )
    model.query_tokens.data.normal_()
    model.itm_head.weight.data.normal_(std=0.06)  # so that it and the contrast both count
    model.save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


class StandIn(nn.Module):
    """The calls of open_clip that the adapter makes, on a model of two matrices."""

    def __init__(self, **config):
        super().__init__()
        self.image, self.text = nn.Linear(3 * 16 * 16, 5), nn.EmbeddingBag(300, 5, mode="sum", padding_idx=0)
        given = {"size": 16, "mode": "RGB", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
        given |= {"interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
        self.visual, self.context_length = SimpleNamespace(preprocess_cfg=given | config), 6

    def encode_image(self, image, normalize=False):
        return self.image(image.flatten(1))

    def encode_text(self, text, normalize=False):
        return self.text(text)


def stand_in_tokenizer(texts, context_length=6):
    result = torch.zeros(len(texts), context_length, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = [298, *text.encode()[: context_length - 2], 299]
        result[row, : len(ids)] = torch.tensor(ids)
    return result


def stand_in_open_clip(monkeypatch):
    """Puts the stand-in in open_clip's place; its model, and the list of what is asked of the library."""
    model, asked = StandIn(), []
    library = SimpleNamespace(
        create_model_and_transforms=lambda *given, **options: asked.append((given, options)) or (model, None, None),
        get_tokenizer=lambda name: asked.append(name) or stand_in_tokenizer,
    )
    monkeypatch.setitem(sys.modules, "open_clip", library)
    return model, asked
