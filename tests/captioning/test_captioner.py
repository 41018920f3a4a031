"""Captioners of many architectures, compared with transformers used by hand."""

import shutil
import socket

import numpy as np
import pytest
import torch
from PIL import Image
from tests.captioning.models import CHATTING, PROMPTED, UNASKED, blip, llava_next, save
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

from fastgoal.captioning import Captioner
from fastgoal.errors import ConfigError, ModelError

ASK = "Describe this picture."


def pictures():
    rng = np.random.default_rng(0)
    sizes = (40, 60), (64, 30), (50, 50)
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def test_an_answer_is_what_the_model_finds_likeliest_token_by_token(captioner, captioner_folder):
    """The obvious way: no generate, no cache, no batch, the prompt written out."""
    model = LlavaNextForConditionalGeneration.from_pretrained(captioner_folder).eval()
    processor = LlavaNextProcessor.from_pretrained(captioner_folder)
    for image, answer in zip(pictures(), captioner.ask(pictures(), ASK, max_new_tokens=9), strict=True):
        inputs = processor(images=image, text=f"USER: <image>\n{ASK} ASSISTANT:", return_tensors="pt")
        tokens, length = inputs.pop("input_ids"), inputs["attention_mask"].shape[1]
        for _ in range(9):
            inputs["attention_mask"] = torch.ones_like(tokens)
            with torch.no_grad():
                best = model(input_ids=tokens, **inputs).logits[0, -1].argmax()
            tokens = torch.cat([tokens, best[None, None]], dim=1)
        assert processor.tokenizer.eos_token_id not in tokens[0, length:]
        assert answer.text == processor.tokenizer.decode(tokens[0, length:], skip_special_tokens=True)
        assert answer.full


@pytest.mark.parametrize(
    ("name", "prompt"),
    [*((name, ASK) for name in CHATTING), *((name, "") for name in UNASKED), *((name, ASK) for name in PROMPTED)],
)
def test_architectures(name, prompt, tmp_path):
    """Each answers alike alone and in a batch, and without the question."""
    captioner = Captioner.load(save((CHATTING | UNASKED | PROMPTED)[name], tmp_path / name))
    assert captioner.chats == (name in CHATTING)
    captioner.try_out(prompt)
    answers = captioner.ask(pictures(), prompt, max_new_tokens=8)
    assert answers == [captioner.ask([image], prompt, max_new_tokens=8)[0] for image in pictures()]
    assert all(answer.text and "Describe" not in answer.text for answer in answers)


def test_a_separator_ends_the_answers_of_a_model_whose_generation_config_has_no_end(tmp_path):
    """A BLIP, by chance of its weights, says six tokens and its separator."""
    captioner = Captioner.load(save(blip, tmp_path / "blip"))
    ends = captioner.tokenizer.sep_token_id
    written = captioner._generate(captioner._inputs(pictures()[:1], ""), 8, 0.0, 0)[0].tolist()
    assert written.index(ends) == len(written) - 1 < 8
    assert not captioner.ask(pictures()[:1], "", max_new_tokens=8)[0].full
    assert captioner.ask(pictures()[:1], "", max_new_tokens=3)[0].full


@pytest.mark.parametrize("name", PROMPTED)
def test_a_model_that_wants_a_text_says_so_beforehand(name, tmp_path):
    captioner = Captioner.load(save(PROMPTED[name], tmp_path / name))
    with pytest.raises(ModelError, match=r"does not take an image with this prompt.*--prompt as its model card"):
        captioner.try_out("")


def test_an_answer_that_ends_by_itself_is_not_full(captioner, monkeypatch):
    inputs = captioner._inputs(pictures()[:1], ASK)
    written = captioner._generate(inputs, 6, 0.0, 0)[0, -6:].tolist()
    monkeypatch.setattr(
        captioner.model.generation_config, "eos_token_id", [captioner.tokenizer.eos_token_id, written[3]]
    )
    upto = written[: written.index(written[3]) + 1]
    ended = captioner.ask(pictures()[:1], ASK, max_new_tokens=6)[0]
    assert (ended.text, ended.full) == (captioner.tokenizer.decode(upto), False)


def test_drawing_goes_by_the_seed_and_leaves_other_randomness_alone(captioner):
    def draw(seed):
        return [a.text for a in captioner.ask(pictures(), ASK, max_new_tokens=8, temperature=1.0, seed=seed)]

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert draw(1) == draw(1) != draw(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fingerprint_tells_weights_apart(captioner, captioner_folder, tmp_path):
    assert Captioner.load(captioner_folder).fingerprint == captioner.fingerprint
    assert Captioner.load(save(llava_next, tmp_path / "other", seed=1)).fingerprint != captioner.fingerprint


def test_a_local_captioner_asks_no_host(captioner_folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a host was asked for")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert Captioner.load(captioner_folder).ask(pictures(), ASK, max_new_tokens=1)


def test_a_captioner_in_half_precision(captioner_folder):
    captioner = Captioner.load(captioner_folder, dtype="bfloat16")
    assert captioner.model.dtype == torch.bfloat16
    assert captioner.ask(pictures(), ASK, max_new_tokens=3)[2].text
    with pytest.raises(ConfigError, match="unknown dtype"):
        Captioner.load(captioner_folder, dtype="int3")


def spoilt(captioner_folder, tmp_path, *missing):
    folder = shutil.copytree(captioner_folder, tmp_path / "spoilt")
    for name in missing:
        (folder / name).unlink()
    return folder


def test_what_is_no_captioner(captioner_folder, small_clip_folder, tmp_path):
    for name, says in (
        (small_clip_folder, 'architecture is "clip", which writes no texts about images'),
        (tmp_path / "nowhere", "there is no such model folder"),
        ("tiny", "there is no such model folder"),
        (spoilt(captioner_folder, tmp_path / "a", "processor_config.json"), "it has no processor"),
        (spoilt(captioner_folder, tmp_path / "b", "config.json"), "the folder has no config.json"),
        (spoilt(captioner_folder, tmp_path / "c", "model.safetensors"), "cannot be loaded"),
    ):
        with pytest.raises(ModelError, match=says):
            Captioner.load(name)
    with pytest.raises(ModelError, match="device cannot be used"):
        Captioner.load(captioner_folder, device="cuda:77")


def test_images_that_do_not_fit_in_memory(captioner, monkeypatch):
    def full(**_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(captioner.model, "generate", full)
    with pytest.raises(ModelError, match=r"3 images at once do not fit.*smaller --batch"):
        captioner.ask(pictures(), ASK, max_new_tokens=3)
