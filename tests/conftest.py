"""Fixtures shared by all tests: a small random CLIP of the real architecture, saved as a plain transformers folder."""

import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SHARED_MEMORY = Path("/dev/shm")
FIRST = (
    "tests/test_readme.py",
    "tests/cluster",
    "tests/test_kill.py",
    "tests/training",
    "tests/recipes",
    "tests/test_run.py",
)
"""What takes longest: with any of these last, one of two processes would wait for it."""

if "TMPDIR" not in os.environ and SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 8 * 2**30:
    # What is finished is written through to the disk, for which tests would wait more than for anything else.
    os.environ["TMPDIR"] = str(SHARED_MEMORY)
    tempfile.tempdir = None
# In every process that a test starts: threads of several processes on one core wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# At Ray's 15 a worker starves beside the tests of another process.
os.environ.setdefault("RAY_worker_niceness", "0")

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: its children would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)

_CORPUS = """A red ball lies on the left of the wooden table. A small blue box stands on the right, by a green lamp.
In the middle of the room there is a large yellow chair with two striped cushions. Behind it, a white window is open.
The photo shows an old brown dog near a tall tree; its shadow falls across the grey stone path in the garden."""


@cache
def _merges() -> list[tuple[str, str]]:
    """The merges that byte pair encoding learns from the corpus, ties by spelling. `BpeTrainer` breaks them by the
    order of a hash table, so that every call would give other ids."""
    stock = CLIPTokenizer().backend_tokenizer
    pieces = stock.pre_tokenizer.pre_tokenize_str(stock.normalizer.normalize_str(_CORPUS))
    words = Counter((*word[:-1], word[-1] + "</w>") for word, _ in pieces)
    merges: list[tuple[str, str]] = []
    while pairs := Counter({pair: 0 for word in words for pair in pairwise(word)}):
        for word, count in words.items():
            pairs.update(dict.fromkeys(pairwise(word), count))
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        words = Counter({_merged(word, merges[-1]): count for word, count in words.items()})
    return merges


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    parts: list[str] = []
    for part in word:
        if parts and (parts[-1], part) == pair:
            parts[-1] += part
        else:
            parts.append(part)
    return tuple(parts)


def small_tokenizer(positions: int = 77) -> CLIPTokenizer:
    """A little CLIP BPE: all 256 bytes with and without `</w>`, a few merges, begin and end as the two highest ids; the
    same ids at every call."""
    alphabet, merges = sorted(pre_tokenizers.ByteLevel.alphabet()), _merges()
    tokens = alphabet + [byte + "</w>" for byte in alphabet] + ["".join(pair) for pair in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=list(merges), model_max_length=positions)


def save_small_clip(folder: Path, *, size: int = 32, patch: int = 8, positions: int = 77, seed: int = 0) -> Path:
    """Save a random CLIP (2 layers, 32 wide, 24 joint dimensions) with its own tokenizer and Pil image processor."""
    tokenizer = small_tokenizer(positions)
    tower = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {**tower, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": positions, "projection_dim": 24}
    vision = {**tower, "image_size": size, "patch_size": patch, "projection_dim": 24}
    torch.manual_seed(seed)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    for name, parameter in clip.named_parameters():
        if name.endswith("bias") or "norm" in name or "position_embedding" in name or "token_embedding" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)  # so that skipping a norm or a position shows
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    clip.save_pretrained(folder)
    CLIPProcessor(processor, tokenizer).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.fixture(scope="session")
def small_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random CLIP: 32 px images in patches of 8 (a 4 x 4 grid), 77 text positions. Do not write into it."""
    return save_small_clip(tmp_path_factory.mktemp("models") / "small-clip")


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What benchmarks run in processes of their own runs in this one: `tests/bench/test_alone.py` has seen them."""
    from fastgoal.bench import evaluation, scaling, step
    from fastgoal.bench.alone import called

    def alone(function: str, **arguments: object) -> dict[str, float]:
        return called(function, json.loads(json.dumps(arguments, default=str)))

    for module in (evaluation, scaling, step):
        monkeypatch.setattr(module, "alone", alone)
