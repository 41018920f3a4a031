"""A vision-language model that writes captions: any that transformers loads as `AutoModelForImageTextToText`.

LLaVA-NeXT is FAST-GOAL's. The one idea: the model's own files say how it is talked to. One with a chat template is
asked through it; one without gets the prompt as it stands, or the image alone where there is none.

Shapes: B images, T tokens of prompt and answer.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from fastgoal.devices import to_device
from fastgoal.errors import ConfigError, ModelError, first_line
from fastgoal.files import shown_name

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
_SAMPLED = 4096
"""Values of each weight that a fingerprint looks at: all of a large model's would take minutes."""
_KIND = "Name a folder or hub id of a vision-language model, such as a LLaVA-NeXT"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model wrote. full: the token limit stopped it."""

    text: str
    full: bool


class Captioner:
    """A model with its processor.

    Args:
        model: of transformers, ready for inference. processor: its own. name: what reports call it.
    """

    def __init__(self, model: Any, processor: Any, *, name: str = "", dtype: Dtype = "auto") -> None:
        self.model, self.processor, self.name, self.dtype = model, processor, name, dtype
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"  # answers follow prompts without a gap
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if model.generation_config.pad_token_id is None:
            model.generation_config.pad_token_id = self.tokenizer.pad_token_id

    @classmethod
    def load(cls, name: str | Path, *, device: str | torch.device = "cpu", dtype: Dtype = "auto") -> "Captioner":
        """Load a captioner.

        Args:
            name: a local folder (never touches the network) or a hub id. dtype: of the weights; `auto` is as stored.

        Raises:
            ModelError: no such model, one that writes no texts about images, without a processor, or with weights that
                are missing; a device that is not there.
        """
        if dtype not in get_args(Dtype):
            raise ConfigError(f"unknown dtype {dtype!r}", where="dtype", mend=f"Use {', '.join(get_args(Dtype))}.")
        model, processor = _load(str(name), dtype)
        mend = "Use cpu, a smaller --dtype, or install a torch build for it."
        return cls(to_device(model, device, mend=mend), processor, name=shown_name(name), dtype=dtype)

    @property
    def chats(self) -> bool:
        """Whether it is asked through a chat template."""
        return bool(getattr(self.processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None))

    @property
    def architecture(self) -> str:
        """`model_type` of its config."""
        return str(self.model.config.model_type)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over architecture, vocabulary, image processor, chat template and, of each weight,
        values drawn evenly."""
        template = getattr(self.processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None)
        config = {k: v for k, v in self.model.config.to_dict().items() if k not in ("_name_or_path", "dtype")}
        facts = [config, self.processor.image_processor.to_dict(), self.tokenizer.get_vocab(), template]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for key, weight in sorted(self.model.state_dict().items()):
            flat = weight.detach().flatten()
            digest.update(f"{key}{tuple(weight.shape)}".encode())
            drawn = flat[:: max(1, flat.numel() // _SAMPLED)]
            digest.update(drawn.to("cpu", torch.float32).contiguous().numpy())
        return digest.hexdigest()[:16]

    def try_out(self, prompt: str) -> None:
        """Ask for one token about a grey picture, so that what cannot work is said before the work.

        Raises:
            ModelError: it does not take an image with this prompt.
        """
        try:
            self.ask([Image.new("RGB", (224, 224), "grey")], prompt, max_new_tokens=1)
        except Exception as error:  # whatever the processors and models of a hundred families raise
            token = getattr(self.processor, "image_token", None)
            place = f", with {token} where the image goes" if isinstance(token, str) else ""
            mend = f"It has no chat template: give --prompt as its model card shows{place}"
            if self.chats:
                mend = "Check that its files are whole and belong together, its chat template among them"
            what = f"it does not take an image with this prompt ({_briefly(error)})"
            raise ModelError(what, where=self.name, mend=f"{mend}.") from error

    def ask(
        self,
        images: Sequence[Image.Image],
        prompt: str,
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Answer]:
        """Ask the same about each image.

        Args:
            images: upright RGB. prompt: the question; "" for none.
            temperature: 0 takes the likeliest token each time; above, tokens are drawn, the same ones for one seed.

        Raises:
            ModelError: the images do not fit in memory together.
        """
        try:
            inputs = self._inputs(images, prompt).to(device=self.model.device, dtype=self.model.dtype)
            output_BT = self._generate(inputs, max_new_tokens, temperature, seed)
        except torch.OutOfMemoryError as error:
            mend = "Use a smaller --batch or --dtype bfloat16; the same command continues."
            what = f"{len(images)} images at once do not fit in memory"
            raise ModelError(what, where=f"device {self.model.device}", mend=mend) from error
        prompt_BT = inputs.get("input_ids")
        length = 0 if prompt_BT is None else prompt_BT.shape[1]
        if length and output_BT.shape[1] >= length and torch.equal(output_BT[:, :length], prompt_BT.cpu()):
            output_BT = output_BT[:, length:]
        return [self._answer(row_T, max_new_tokens) for row_T in output_BT]

    def _inputs(self, images: Sequence[Image.Image], prompt: str) -> Any:
        if self.chats:
            text = [{"type": "text", "text": prompt}] if prompt else []
            chats = [[{"role": "user", "content": [{"type": "image", "image": image}, *text]}] for image in images]
            return self.processor.apply_chat_template(
                chats,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        texts = {"text": [prompt] * len(images), "padding": True} if prompt else {}
        return self.processor(images=list(images), return_tensors="pt", **texts)

    @torch.inference_mode()
    def _generate(self, inputs: Any, max_new_tokens: int, temperature: float, seed: int) -> torch.Tensor:
        drawing: dict[str, Any] = {"do_sample": True, "temperature": temperature} if temperature else {}
        device = self.model.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            written: torch.Tensor = self.model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                num_beams=1,
                **({"do_sample": False} | drawing),
            )
        return written.cpu()

    def _answer(self, row_T: torch.Tensor, max_new_tokens: int) -> Answer:
        ends = self.model.generation_config.eos_token_id
        own = self.tokenizer  # BLIP ends with a separator, whatever its generation config says
        known = {*(ends if isinstance(ends, list) else [ends]), own.eos_token_id, own.sep_token_id, own.pad_token_id}
        last = row_T[-max_new_tokens:].tolist()
        full = len(last) == max_new_tokens and not set(last) & known
        return Answer(text=self.tokenizer.decode(row_T, skip_special_tokens=True), full=full)


def _load(name: str, dtype: str) -> tuple[Any, Any]:
    local = Path(name).is_dir()
    if not local and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise ModelError("there is no such model folder", where=name, mend=f"{_KIND}.")
    if local and not (Path(name) / "config.json").is_file():
        raise ModelError("the folder has no config.json", where=name, mend=f"{_KIND}.")
    options: dict[str, Any] = {"local_files_only": local}
    try:
        kind = PreTrainedConfig.get_config_dict(name, **options)[0].get("model_type")
        if kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            what = f"its architecture is {json.dumps(kind)}, which writes no texts about images"
            raise ModelError(what, where=name, mend=f"{_KIND}.")
        processor = _processor(name, options)
        model, report = AutoModelForImageTextToText.from_pretrained(
            name, dtype=dtype, output_loading_info=True, **options
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a broken file makes transformers raise, the user's files are at fault
        mend = f"{_KIND}, with its weights." if local else "Check the id and the connection, or give a local folder."
        what = f"the captioner cannot be loaded ({_briefly(error)})"
        raise ModelError(what, where=name, mend=mend) from error
    if missing := sorted(report["missing_keys"]):
        what = f"{len(missing)} of its weights are missing, the first {missing[0]}"
        raise ModelError(what, where=name, mend="Use a complete checkpoint.")
    return model, processor


def _processor(name: str, options: dict[str, Any]) -> Any:
    try:
        processor = AutoProcessor.from_pretrained(name, **options)
    except ImportError as error:
        mend = "Install what it names, or use a captioner that needs nothing but Pillow, such as a LLaVA-NeXT."
        raise ModelError(f"its processor needs more ({_briefly(error)})", where=name, mend=mend) from error
    except (OSError, ValueError) as error:
        mend = "Put the preprocessor_config.json (or processor_config.json) and the tokenizer of its own family there."
        raise ModelError(f"it has no processor ({_briefly(error)})", where=name, mend=mend) from error
    lacking = [part for part in ("image_processor", "tokenizer") if not hasattr(processor, part)]
    if lacking:
        what = f"its processor has no {lacking[0].replace('_', ' ')}"
        raise ModelError(what, where=name, mend="Put the processor files of its own family there.")
    return processor


def _briefly(error: Exception) -> str:
    """The first sentence of an error; those of processors go on with advice to programmers."""
    return first_line(error).split(". ")[0].strip()
