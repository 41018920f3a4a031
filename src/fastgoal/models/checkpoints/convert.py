"""From a checkpoint file to a model folder.

The folder is what stock `CLIPModel.from_pretrained` and `CLIPProcessor.from_pretrained` load: config, float32
safetensors, tokenizer and both processor files. The tokenizer is not in a checkpoint and comes from elsewhere; its
vocabulary has to be exactly the model's, with the end token as its highest id, for that is where all these projects
pool a text.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.errors import ModelError, first_line
from fastgoal.models.checkpoints.file import read_checkpoint
from fastgoal.models.checkpoints.layouts import recognise
from fastgoal.models.checkpoints.settings import Settings, Wishes, settle
from fastgoal.models.checkpoints.table import Sizes, check, entries, measure, translate
from fastgoal.models.folder import expect_free, read_tokenizer, write_folder

DEFAULT_TOKENIZER = "openai/clip-vit-base-patch16"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was recognised: the layout's name, the sizes that the weights say, and the settings they do not."""

    layout: str
    sizes: Sizes
    settings: Settings
    tokenizer: str

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self) | {"text_positions": self.sizes.positions, "image_pixels": self.sizes.pixels}


def convert(path: Path, out: Path, *, tokenizer: str = DEFAULT_TOKENIZER, wishes: Wishes | None = None) -> Conversion:
    """Write the model of a checkpoint file as a plain transformers folder.

    Args:
        path: a file of `torch.save` or safetensors.
        out: folder of the model; new or empty.
        tokenizer: folder with a tokenizer, hub id of a CLIP, or `tiny`.
        wishes: what the file does not say.

    Raises:
        ModelError: a file, config or tokenizer that cannot be used, or an output folder that is not empty.
        ConfigError: heads that do not divide a tower's width.
        DataError: the disk refuses.
    """
    expect_free(out)
    checkpoint = read_checkpoint(path)
    layout = recognise(checkpoint)
    sizes = measure(checkpoint, layout)
    table = entries(sizes, layout)
    check(table, checkpoint)
    settings = settle(wishes or Wishes(), sizes, layout)
    words = _tokenizer(tokenizer, sizes)
    clip = CLIPModel(_config(sizes, settings, words))
    clip.load_state_dict(translate(table, checkpoint, layout))
    write_folder(out, clip, words, _image_processor(sizes, settings))
    return Conversion(layout=layout.name, sizes=sizes, settings=settings, tokenizer=tokenizer)


def _tokenizer(name: str, sizes: Sizes) -> Any:
    """The tokenizer, with the model's text limit.

    Raises:
        ModelError: none there, another vocabulary size, or an end token that is not the highest id.
    """
    words = _read_tokenizer(name)
    if len(words) != sizes.vocabulary:
        what = f"the tokenizer has {len(words):,} tokens, the checkpoint {sizes.vocabulary:,}"
        mend = "Give --tokenizer the folder or hub id of the model that the checkpoint was trained from."
        raise ModelError(what, where=name, mend=mend)
    if words.eos_token_id != sizes.vocabulary - 1:
        what = f"texts end with token {words.eos_token_id}, but the checkpoint reads a text at its highest token id"
        raise ModelError(what, where=name, mend="Use a tokenizer whose end token has the highest id, as OpenAI's.")
    words.model_max_length = sizes.positions
    return words


def _read_tokenizer(name: str) -> Any:
    folder = Path(name)
    if not folder.is_dir() or (folder / "config.json").is_file():
        return read_tokenizer(name)[0]
    try:  # a folder with nothing but a tokenizer
        if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json")):
            raise FileNotFoundError("no tokenizer.json in it")
        return AutoTokenizer.from_pretrained(name, local_files_only=True)
    except Exception as error:  # whatever a broken file makes transformers raise, the user's files are at fault
        mend = "Give --tokenizer a folder with tokenizer.json and tokenizer_config.json."
        raise ModelError(f"the tokenizer cannot be read: {first_line(error)}", where=name, mend=mend) from None


def _config(sizes: Sizes, settings: Settings, words: Any) -> CLIPConfig:
    ids = {name: getattr(words, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    both = {"hidden_act": settings.activation, "projection_dim": sizes.dim}
    text, image = (
        {"hidden_size": tower.width, "intermediate_size": tower.inner, "num_hidden_layers": tower.layers}
        | {"num_attention_heads": heads, **both}
        for tower, heads in ((sizes.text, settings.text_heads), (sizes.image, settings.image_heads))
    )
    text |= {"vocab_size": sizes.vocabulary, "max_position_embeddings": sizes.positions, **ids}
    image |= {"image_size": sizes.pixels, "patch_size": sizes.patch}
    return CLIPConfig(text_config=text, vision_config=image, projection_dim=sizes.dim)


def _image_processor(sizes: Sizes, settings: Settings) -> CLIPImageProcessorPil:
    square = {"height": sizes.pixels, "width": sizes.pixels}
    return CLIPImageProcessorPil(
        size=square if settings.squash else {"shortest_edge": sizes.pixels},
        crop_size=square,
        do_center_crop=not settings.squash,
        resample=settings.resample,
        image_mean=list(settings.mean),
        image_std=list(settings.std),
    )
