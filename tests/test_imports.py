"""The direction of the flow: a module imports only from what stands upstream of it, and the command line starts
light."""

import ast
import subprocess
import sys
from pathlib import Path

import fastgoal

ROOT = Path(fastgoal.__file__).parent
FLOW = (
    "errors",
    "devices",
    "ahead",
    "files",
    "remote",
    "progress",
    "watch",
    "interrupts",
    "geometry",
    "inline",
    "data",
    "regions",
    "losses",
    "models",
    "hub",
    "embed",
    "cache",
    "pairs",
    "checking",
    "captioning",
    "matching",
    "model",
    "training",
    "evaluation",
    "explain",
    "cluster",
    "search",
    "export",
    "card",
    "report",
    "stages",
    "recipes",
    "run",
    "demo",
    "bench",
    "cli",
)
"""The rooms of the house, upstream first."""


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> set[str]:
    """Every fastgoal module that a file names in an import, wherever in the file it stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("fastgoal.")}


def modules() -> dict[str, Path]:
    paths = [path for path in ROOT.rglob("*.py") if path.name != "__main__.py" and path != ROOT / "__init__.py"]
    return {".".join(("fastgoal", *path.relative_to(ROOT).with_suffix("").parts)): path for path in paths}


def test_every_room_is_on_the_map():
    assert {room(name) for name in modules()} <= set(FLOW)


def test_imports_point_upstream():
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in imports(path)
        if room(other) in FLOW and FLOW.index(room(other)) > FLOW.index(room(name))
    ]
    assert not wrong


SERVICE = "fastgoal.search.service."
"""Modules whose only business is FastAPI; `fastgoal serve` imports them once it has found it."""


def test_nothing_imports_torchvision_or_an_extra_at_the_top():
    for name, path in modules().items():
        own = {"fastapi"} if name.startswith(SERVICE) else set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {
            name.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        assert not (top - own) & {
            "torchvision",
            "lancedb",
            "fastapi",
            "ray",
            "peft",
            "onnx",
            "onnxruntime",
            "open_clip",
        }, path


def test_the_command_line_starts_without_the_heavy_libraries():
    heavy = ("torch", "transformers", "matplotlib", "pyarrow")
    code = f"import sys, fastgoal, fastgoal.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
