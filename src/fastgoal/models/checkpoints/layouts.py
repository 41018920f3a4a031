"""Which project's layout a state dict has, told from its keys.

OpenAI's and open_clip's flat layouts have the same keys; a state dict under `state_dict`, as open_clip's training
writes it, or a file called `open_clip...`, is taken for open_clip's. The difference matters for one thing that no state
dict says, the activation function; what was assumed is always told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastgoal.errors import ModelError
from fastgoal.models.checkpoints.file import Checkpoint

QUICK_GELU, GELU = "quick_gelu", "gelu"
ACTIVATIONS = (QUICK_GELU, GELU)
IGNORED = ("attn_mask", "text.attn_mask", "input_resolution", "context_length", "vocab_size")
"""Entries that are no weights, in any layout; transformers' own are `*.position_ids`."""
LONG_CLIP_SECOND_TABLE = "positional_embedding_res"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A project's way of naming weights.

    name: for people. plain: transformers names, else OpenAI's. text: what OpenAI's text keys begin with.
    second_table: whether text positions are two tables (Long-CLIP). activation: what the project's models use by
    default.
    """

    name: str
    plain: bool = False
    text: str = ""
    second_table: bool = False
    activation: str = QUICK_GELU


OPENAI = Layout(name="OpenAI CLIP")
LONG_CLIP = Layout(name="Long-CLIP", second_table=True)
GOAL = Layout(name="transformers CLIP (as GOAL saves it)", plain=True)
OPEN_CLIP = Layout(name="open_clip", activation=GELU)
OPEN_CLIP_CUSTOM = Layout(name="open_clip (text tower under 'text.')", text="text.", activation=GELU)

Keys = Mapping[str, Any]


def _begins(*prefixes: str) -> Callable[[Keys], bool]:
    return lambda keys: any(key.startswith(prefixes) for key in keys)


def _has(part: str) -> Callable[[Keys], bool]:
    return lambda keys: any(part in key for key in keys)


FOREIGN: tuple[tuple[Callable[[Keys], bool], str], ...] = (
    (_has("lora_"), "a LoRA adapter without, or beside, its base model"),
    (_has("logit_bias"), "a SigLIP (it has a logit_bias)"),
    (_begins("vision_model.head.", "vision_model.encoder.layers.0.self_attn.qkv"), "a SigLIP"),
    (_begins("visual.layer1.", "visual.attnpool."), "a CLIP with a ResNet as image tower"),
    (_begins("visual.trunk."), "an open_clip model with an image tower of timm"),
    (_begins("visual.blocks.", "visual.cls_token"), "an EVA-CLIP"),
    (_begins("text_decoder.", "visual.attn_pool."), "a CoCa"),
    (
        _begins("text.transformer.embeddings.", "text.transformer.encoder."),
        "an open_clip model with another text tower",
    ),
    (_has(".ls_1.gamma"), "a CLIP with layer scale"),
    (_has("word_embeddings.weight"), "a text encoder of BERT's kind"),
)
"""What other models show by their keys."""


def recognise(checkpoint: Checkpoint) -> Layout:
    """The layout of a checkpoint.

    Raises:
        ModelError: a model of another family, by name where it is known, or half of a CLIP.
    """
    keys = checkpoint.weights
    for shows, family in FOREIGN:
        if shows(keys):
            raise _refused(f"it is {family}, which is not supported", checkpoint)
    image, text = _begins("visual.conv1.")(keys), _begins("token_embedding.", "text.token_embedding.")(keys)
    plain_image, plain_text = _begins("vision_model.")(keys), _begins("text_model.")(keys)
    if plain_image and plain_text:
        return GOAL
    if image and text:
        return _openai_like(checkpoint)
    if image or text or plain_image or plain_text:
        has = "an image tower" if image or plain_image else "a text tower"
        raise _refused(f"it has {has} only", checkpoint)
    shown = ", ".join(list(keys)[:3])
    raise _refused(f"its keys are not those of a CLIP ({shown}, ...)", checkpoint)


def _openai_like(checkpoint: Checkpoint) -> Layout:
    keys = checkpoint.weights
    if "text.token_embedding.weight" in keys:
        return OPEN_CLIP_CUSTOM
    if LONG_CLIP_SECOND_TABLE in keys:
        return LONG_CLIP
    trained = checkpoint.wrapper == "state_dict" or checkpoint.path.name.startswith("open_clip")
    return OPEN_CLIP if trained else OPENAI


def _refused(what: str, checkpoint: Checkpoint) -> ModelError:
    return ModelError(
        what,
        where=checkpoint.path,
        mend="Use the whole checkpoint of a CLIP with a plain ViT: of OpenAI, Long-CLIP, GOAL or open_clip",
    )
