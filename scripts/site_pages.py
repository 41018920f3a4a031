"""A hook of MkDocs: pages that lie outside `docs/` join the site where they are, and links work in both places.

In the repository a link leads from file to file. On the site the same text stands under another path, so every link to
one of these files becomes one to its page, and a link to any other file of the repository becomes plain text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "measurements.md",
    "benchmarks/scaling.png": "images/scaling.png",
    "src/fastgoal/assets/tiny/README.md": "tiny.md",
}
"""Files of the repository, and what they are called on the site."""
ON_SITE = {site: repository for repository, site in ELSEWHERE.items()}
_LINK = re.compile(r"(?P<text>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_HEAD = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files from elsewhere."""
    for repository, site in ELSEWHERE.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / repository)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page's text with every link as the site needs it, and without a card's metadata."""
    here = page.file.src_uri
    own = ON_SITE.get(here, f"docs/{here}")
    return _LINK.sub(lambda found: _link(found, own, here), _HEAD.sub("", markdown))


def _link(found: re.Match[str], own: str, here: str) -> str:
    target = found["target"]
    if "://" in target or target.startswith("mailto:"):
        return found[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(own), target))
    site = ELSEWHERE.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
    if site is None:
        return found["text"][1:-1] if (ROOT / file).exists() else found[0]  # strict mode names what is nowhere
    return f"{found['text']}({posixpath.relpath(site, posixpath.dirname(here) or '.')}{found['anchor'] or ''})"
