"""Models that can be measured beside ours but not trained here, each behind what `Retriever` asks for.

BLIP-2        a folder or hub id whose config.json says "model_type": "blip-2"
open_clip     `open_clip:NAME@PRETRAINED`, with the extra `fastgoal[openclip]`
"""

from fastgoal.devices import to_device
from fastgoal.models.baselines.blip2 import MODEL_TYPE, Blip2Retriever
from fastgoal.models.baselines.openclip import PREFIX, OpenClipRetriever
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import read_model_type
from fastgoal.models.retriever import Retriever

__all__ = ["Blip2Retriever", "OpenClipRetriever", "load_retriever"]


def load_retriever(
    name: str, *, device: str = "cpu", text_tokens: int | None = None, pinned: int | None = None
) -> Retriever:
    """Any model that retrieval can be measured with, found out by its name and its config.json.

    Args:
        name: what `DualEncoder.load` takes, a BLIP-2, or `open_clip:NAME@PRETRAINED`.
        text_tokens: text limit to stretch or cut a dual encoder to, or to cut a baseline to; None keeps its own.
        pinned: the text limit of a protocol. Where no `text_tokens` is asked for, a model whose limit can be stretched
            gets it; any other keeps its own.

    Raises:
        ModelError: as `DualEncoder.load`.
    """
    if name.startswith(PREFIX):
        return OpenClipRetriever.load(name, device=device, text_tokens=text_tokens)
    if read_model_type(name) == MODEL_TYPE:
        return Blip2Retriever.load(name, device=device, text_tokens=text_tokens)
    encoder = DualEncoder.load(name, text_tokens=text_tokens)
    if text_tokens is None and pinned is not None and encoder.traits.stretches:
        encoder.set_text_limit(pinned)
    return to_device(encoder, device)
