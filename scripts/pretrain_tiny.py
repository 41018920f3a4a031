"""Pre-train the bundled base model `tiny` on short captions of drawn scenes, as CLIP was trained on short captions of
photographs.

Every sample is a fresh glimpse of a fresh scene: a close-up of one thing, a part with a few things, or the whole, with
a phrase or up to five sentences of at most 77 tokens. Paragraphs never occur, so they are as new to the model as they
were to CLIP. The five-sentence tail trains all 77 text positions, without which stretching them would interpolate
noise.

    python scripts/pretrain_tiny.py OUT      continues from OUT/state.pt when it is there
"""

import argparse
import json
import math
import multiprocessing
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.data.scenes.captions import (
    long_caption,
    noun_phrase,
    setting_sentence,
    short_caption,
    thing_sentence,
)
from fastgoal.data.scenes.dice import Dice
from fastgoal.data.scenes.layout import CANVAS, Scene, Thing, make_scene
from fastgoal.data.scenes.painter import Drawn, paint
from fastgoal.models.tokens import forget_calls

SEED = 20_260  # no data set of the package uses this seed
SIZE, PATCH, WIDTH, TOKENS, MERGES = 96, 12, 128, 77, 700
BATCH, WARM_UP = 128, 200
AHEAD = 16
"""Batches that are drawn before they are trained on."""
STAGES = ((3_000, 1e-3), (1_500, 6e-4))
"""Steps and peak learning rate."""
STEPS = sum(steps for steps, _ in STAGES)
KINDS = (
    (("close-up", 12), ("part", 34), ("whole", 50), ("sentences", 4)),
    (("close-up", 42), ("part", 30), ("whole", 26), ("sentences", 2)),
)
"""Kinds of glimpses and their shares in percent, for each stage. In the first, close-ups are few and described without
their texture; the second looks closer. Several sentences are rare, as paragraphs are among CLIP's captions."""


def make_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE in CLIP's form whose begin and end tokens are its two highest ids."""
    cast = Drawn()
    texts = [
        long_caption(make_scene(cast, seed=SEED, index=i, objects=(1, 10), contrast=0), Dice(SEED, "words", i)).text
        for i in range(8_000)
    ]
    stock = CLIPTokenizer().backend_tokenizer
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer, bpe.pre_tokenizer = stock.normalizer, stock.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=2 * len(alphabet) + MERGES,
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += [token for token in dict.fromkeys(a + b for a, b in merges) if token not in set(tokens)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges, model_max_length=TOKENS)


def make_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    torch.manual_seed(SEED)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": WIDTH,
        "hidden_act": "gelu",
    }
    vision = {
        "image_size": SIZE,
        "patch_size": PATCH,
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "projection_dim": WIDTH,
        "hidden_act": "gelu",
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


class Glimpses:
    """Glimpse `i` of scene `i`: a uint8 view of `SIZE` x `SIZE` pixels and its caption."""

    def __init__(self) -> None:
        self._cast = Drawn()

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        dice = Dice(SEED, "glimpse", index)
        later = index >= STAGES[0][0] * BATCH
        kind = _kind(dice, KINDS[later])
        objects = (1, 4) if kind == "close-up" else (1, 10)
        scene = make_scene(self._cast, seed=SEED, index=index, objects=objects, contrast=0)
        image, boxes = paint(scene, self._cast)
        if kind == "close-up":
            at = dice.below(len(boxes))
            thing = scene.things[at] if later else replace(scene.things[at], texture=None, accent=None)
            window, text = _around(boxes[at], dice), _describe(scene, thing, dice)
        elif kind == "part":
            window, inside = _part(boxes, dice)
            text = short_caption(_only(scene, [scene.things[i] for i in inside]), dice).text
        else:
            window = (0, 0, CANVAS, CANVAS)
            text = short_caption(scene, dice).text if kind == "whole" else _some_sentences(scene, dice)
        return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=window)), text


def _kind(dice: Dice, kinds: tuple[tuple[str, int], ...]) -> str:
    roll = dice.below(100)
    return next(kind for i, (kind, _) in enumerate(kinds) if roll < sum(share for _, share in kinds[: i + 1]))


def _describe(scene: Scene, thing: Thing, dice: Dice) -> str:
    """One thing in a phrase, a short caption or a sentence: were sentences kept for whole scenes, a full stop and a
    place would tell the model that it is looking at one."""
    form = dice.below(3)
    if form == 0:
        return noun_phrase(thing, dice, brief=dice.chance(0.3))
    return short_caption(_only(scene, [thing]), dice).text if form == 1 else thing_sentence(thing, dice)


def _around(box: tuple[float, ...], dice: Dice) -> tuple[int, int, int, int]:
    """A box grown on each side by up to a quarter of its longer side, within the canvas."""
    x1, y1, x2, y2 = map(int, box)
    room = max(x2 - x1, y2 - y1) // 4
    return (
        max(0, x1 - dice.between(0, room)),
        max(0, y1 - dice.between(0, room)),
        min(CANVAS, x2 + dice.between(0, room)),
        min(CANVAS, y2 + dice.between(0, room)),
    )


def _part(boxes: list[tuple[float, ...]], dice: Dice) -> tuple[tuple[int, int, int, int], list[int]]:
    """A square window that holds at least one thing whole, and the things it holds."""
    at = boxes[dice.below(len(boxes))]
    side = dice.between(110, 210)
    x = min(max(0, dice.between(int(at[2]) - side, int(at[0]))), CANVAS - side)
    y = min(max(0, dice.between(int(at[3]) - side, int(at[1]))), CANVAS - side)
    inside = [
        i
        for i, b in enumerate(boxes)
        if b[0] >= x - 4 and b[1] >= y - 4 and b[2] <= x + side + 4 and b[3] <= y + side + 4
    ]
    return (x, y, x + side, y + side), inside


def _only(scene: Scene, things: Sequence[Thing]) -> Scene:
    return replace(scene, things=tuple(things))


def _some_sentences(scene: Scene, dice: Dice) -> str:
    sentences = [thing_sentence(thing, dice) for thing in dice.shuffled(scene.things)[: dice.between(1, 5)]]
    if len(sentences) > 1 and dice.chance(0.4):
        sentences[-1:] = [setting_sentence(scene, dice)]
    return " ".join(dice.shuffled(sentences))


def encode_texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Text embeddings, short and long texts padded apart: a phrase need not be padded to the length of four
    sentences."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    for chunk in np.array_split(order, 4):
        tokens = tokenizer(
            [texts[i] for i in chunk], padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        parts.append(model.get_text_features(**tokens).pooler_output)
    return torch.cat(parts)[torch.tensor(np.argsort(order))]


def contrastive(model: CLIPModel, image_BD: torch.Tensor, text_BD: torch.Tensor, texts: list[str]) -> torch.Tensor:
    logits_BB = (
        model.logit_scale.exp() * torch.nn.functional.normalize(image_BD) @ torch.nn.functional.normalize(text_BD).T
    )
    names = np.array(texts)
    same_BB = torch.from_numpy((names[:, None] == names[None]) & ~np.eye(len(names), dtype=bool))
    logits_BB = logits_BB.masked_fill(same_BB, -torch.inf)  # two things of one name are not each other's negatives
    target_B = torch.arange(len(logits_BB))
    return (
        torch.nn.functional.cross_entropy(logits_BB, target_B)
        + torch.nn.functional.cross_entropy(logits_BB.T, target_B)
    ) / 2


def collate(items: list[tuple[np.ndarray, str]]) -> tuple[torch.Tensor, list[str]]:
    return torch.from_numpy(np.stack([view for view, _ in items])), [text for _, text in items]


def batches(start: int) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Batches from number `start` on, drawn some ahead by all cores and then trained on: drawing beside training is
    slower, since the threads of a matrix product wait for the slowest of them."""
    draw = Glimpses().__getitem__
    with multiprocessing.get_context("forkserver").Pool() as pool:
        for first in range(start, STEPS, AHEAD):
            indices = range(first * BATCH, min(first + AHEAD, STEPS) * BATCH)
            items = pool.map(draw, indices, chunksize=BATCH // 2)
            for at in range(0, len(items), BATCH):
                yield collate(items[at : at + BATCH])


def learning_rate(step: int) -> float:
    """Warm-up, and a cosine to 0, within each stage."""
    for steps, peak in STAGES:
        if step < steps:
            return peak * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        step -= steps
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (processor.image_mean, processor.image_std))
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.05)
    state_file, start, seconds = options.out / "state.pt", 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        start, seconds = state["step"], state["seconds"]

    begun, shown, running = time.time() - seconds, time.time(), 0.0
    for step, (views_BHWC, texts) in enumerate(batches(start), start):
        pixels = (views_BHWC.permute(0, 3, 1, 2).float() / 255 - mean) / std
        image_BD = model.get_image_features(pixel_values=pixels).pooler_output
        loss = contrastive(model, image_BD, encode_texts(model, tokenizer, texts), texts)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(100)))
        running += loss.item() / 50
        if (step + 1) % 50 == 0:
            rate = 50 * BATCH / (time.time() - shown)
            print(f"step {step + 1}/{STEPS}  loss {running:.3f}  {rate:.0f} samples/s", flush=True)
            shown, running = time.time(), 0.0
        if (step + 1) % 250 == 0 or step + 1 == STEPS:
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "seconds": time.time() - begun,
            }
            torch.save(state, state_file.with_suffix(".tmp"))
            state_file.with_suffix(".tmp").replace(state_file)
            save(options.out / "model", model, tokenizer, processor)
    facts = {
        "steps": [steps for steps, _ in STAGES],
        "batch": BATCH,
        "samples": STEPS * BATCH,
        "seed": SEED,
        "learning_rate": [peak for _, peak in STAGES],
        "seconds": round(time.time() - begun),
        "hardware": f"{torch.get_num_threads()} CPU threads, {platform.machine()}",
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (options.out / "model" / "pretraining.json").write_text(json.dumps(facts, indent=2) + "\n")


def save(folder: Path, model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessorPil) -> None:
    forget_calls(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)


if __name__ == "__main__":
    main()
