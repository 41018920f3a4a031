"""Many clients at once against a server of `fastgoal serve`: latency, errors, and the server's memory.

    fastgoal serve INDEX --rate 0                       # without the limit per client: all of these are one client
    python benchmarks/load.py http://127.0.0.1:8321 --clients 20 --seconds 60 [--pid PID] [--token T] [--json FILE]

Each client does what the page does, again and again, without a pause: a search by text, the thumbnails of the first
hits, and now and then (one time in ten each) a search by one of the index's images, one by an uploaded image, and an
explanation. Texts are sentences of the index's own captions, drawn by a seed and different each time. Latency is what a
client waits for an answer, of each kind. An error is any answer but 200, and none at all. With `--pid` the most memory
that the process had so far (VmHWM) is read from /proc, for several workers the sum over the process and its children.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

THUMBS = 6
"""Of each page of results; a browser asks for those in sight, and keeps them."""
SELDOM = 0.1


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked of whom. texts: to draw queries from. ids, picture: to search by images."""

    texts: Sequence[str]
    ids: Sequence[str]
    picture: bytes
    top: int


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of it. times: milliseconds of each kind of request. errors: how many of each."""

    times: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)


async def ask(client: httpx.AsyncClient, tally: Tally, kind: str, method: str, path: str, **what: Any) -> Any:
    """One request, counted. Returns its answer, or None."""
    begin = time.perf_counter()
    try:
        answer = await client.request(method, path, **what)
    except httpx.HTTPError as error:
        tally.errors[f"{kind}: {type(error).__name__}"] += 1
        return None
    if answer.status_code != 200:
        tally.errors[f"{kind}: {answer.status_code}"] += 1
        return None
    tally.times[kind].append(1000 * (time.perf_counter() - begin))
    return answer


async def visit(client: httpx.AsyncClient, tally: Tally, load: Load, rng: random.Random) -> None:
    """One search and what follows it."""
    text = " ".join(rng.sample(load.texts, rng.randint(1, min(5, len(load.texts)))))
    answer = await ask(client, tally, "text", "POST", "/api/search", json={"text": text, "top": load.top})
    hits = [] if answer is None else [hit["id"] for hit in answer.json()["hits"]]
    for id in hits[:THUMBS]:
        await ask(client, tally, "thumbnail", "GET", "/api/image", params={"id": id, "size": "thumb"})
    if rng.random() < SELDOM:
        await ask(client, tally, "like", "GET", "/api/like", params={"id": rng.choice(load.ids), "top": load.top})
    if rng.random() < SELDOM:
        files = {"picture": ("picture.jpg", load.picture)}
        await ask(client, tally, "image", "POST", f"/api/search/image?top={load.top}", files=files)
    if hits and rng.random() < SELDOM:
        await ask(client, tally, "explain", "POST", "/api/explain", json={"id": hits[0], "text": text})


async def one_client(base: str, headers: dict[str, str], tally: Tally, load: Load, seed: int, until: float) -> None:
    rng = random.Random(seed)
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, trust_env=False) as client:
        while time.monotonic() < until:
            await visit(client, tally, load, rng)


async def prepare(base: str, headers: dict[str, str], top: int) -> tuple[Load, dict[str, Any]]:
    """The load, from what the server says of its index; its facts."""
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, trust_env=False) as client:
        facts = (await client.get("/api/facts")).raise_for_status().json()
        ids = [example["id"] for example in facts["examples"]]
        texts = [part + "." for one in facts["examples"] for part in (one["caption"] or one["id"]).split(". ")]
        picture = await client.get("/api/image", params={"id": ids[0], "size": "full"})
    return Load(texts=texts, ids=ids, picture=picture.raise_for_status().content, top=top), facts


def memory_mib(pid: int) -> float:
    """VmHWM of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    peaks = [
        line.split()[1]
        for each in [str(pid), *children]
        for line in Path(f"/proc/{each}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return sum(map(int, peaks)) / 1024


async def run(base: str, token: str | None, clients: int, seconds: float, top: int) -> dict[str, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    load, facts = await prepare(base, headers, top)
    tally, begin = Tally(), time.monotonic()
    each = (one_client(base, headers, tally, load, seed, begin + seconds) for seed in range(clients))
    await asyncio.gather(*each)
    took = time.monotonic() - begin
    kinds = {
        kind: {
            "count": len(times),
            "per_second": len(times) / took,
            **{f"p{q}": float(np.percentile(times, q)) for q in (50, 95, 99)},
            "max": max(times),
        }
        for kind, times in tally.times.items()
    }
    index = {name: facts[name] for name in ("images", "regions", "model", "dim", "exact")}
    return {"clients": clients, "seconds": took, "index": index, "kinds": kinds, "errors": dict(tally.errors)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--top", type=int, default=24)
    parser.add_argument("--token")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    result = asyncio.run(run(asked.url.rstrip("/"), asked.token, asked.clients, asked.seconds, asked.top))
    if asked.pid is not None:
        result["memory_mib"] = memory_mib(asked.pid)
    for kind, row in sorted(result["kinds"].items()):
        print(f"{kind:10} {row['count']:6} " + " ".join(f"{q} {row[q]:8.1f} ms" for q in ("p50", "p95", "p99", "max")))
    print(f"errors: {sum(result['errors'].values())} {result['errors'] or ''}")
    if asked.pid is not None:
        print(f"memory of the server at most {result['memory_mib']:,.0f} MiB")
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
