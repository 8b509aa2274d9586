"""Protects: what the Markdown pages and the notebooks' prose point at is there: files, headings, code; and addresses on the web are well-formed.

Pages are parsed by mistune, which comes with JupyterLab. Nothing is asked of the network.
"""

import json
import posixpath
import re
import string
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mistune
import pytest
from test_packaging import git

ROOT = Path(__file__).resolve().parents[1]
RECORDED = "results/reference/notebooks/"  # as they ran at an older commit: their prose may name what has moved since
PLAIN = {"places2.csail.mit.edu", "people.csail.mit.edu", "salicon.net"}  # published with http, and by whom they are known
FILE = re.compile(r"(?:[\w.-]+/)+[\w.-]+\.(?:py|md|ipynb|sh|json|toml|yml|png|css|html)")
PROJECT = ("lib/", "notebooks/", "data/", "results/reference/", "tests/", "findings/")  # a path in backticks that begins otherwise is somebody else's
NAME = re.compile(r"lib(?:\.\w+)+")
ADDRESS = re.compile(r"https?://[^\s<>\"'`|\\]+")
MARKDOWN = mistune.create_markdown(renderer="ast", plugins=["table", "url", "strikethrough"])


@cache
def tracked() -> frozenset[str]:
    """The files of the repository, new ones too, and their folders."""
    files = [name for name in git("ls-files", "--cached", "--others", "--exclude-standard") if (ROOT / name).exists()]
    return frozenset(files) | {str(folder) for name in files for folder in Path(name).parents}


def pages() -> list[str]:
    return sorted(name for name in tracked() if name.endswith((".md", ".ipynb")))


@cache
def prose(page: str) -> str:
    """A page's Markdown; of a notebook its Markdown cells."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if not page.endswith(".ipynb"):
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


@cache
def tokens(text: str) -> list[dict]:
    """All tokens of a Markdown text, parents first."""
    return [token for block in MARKDOWN(text) for token in within(block)]


def within(token: dict) -> Iterator[dict]:
    """A token and all that it holds."""
    yield token
    for child in token.get("children", []):
        yield from within(child)


def targets(text: str) -> list[str]:
    """What the links and pictures of a text point at, those of raw HTML too."""
    found = []
    for token in tokens(text):
        if token["type"] in ("link", "image"):
            found.append(token["attrs"]["url"])
        elif token["type"] in ("block_html", "inline_html"):
            found += re.findall(r"\b(?:href|src)=[\"']([^\"']*)[\"']", token["raw"])
    return found


def code_spans(text: str) -> list[str]:
    return [token["raw"] for token in tokens(text) if token["type"] == "codespan"]


def anchors(page: str, text: str) -> set[str]:
    """What a link may name behind #: headings as GitHub writes them, in a notebook as JupyterLab does."""
    found, seen = set(), Counter()
    for token in tokens(text):
        if token["type"] == "heading":
            heading = "".join(part["raw"] for part in within(token) if "raw" in part)
            slug = heading if page.endswith(".ipynb") else re.sub(r"[^\w\- ]", "", heading.lower())
            slug = slug.replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


def address_fault(address: str) -> str:
    """What is wrong with an address on the web, "" for nothing."""
    try:
        split = urlsplit(address)
        port, host = split.port, split.hostname or ""
    except ValueError as error:
        return str(error)
    if split.scheme not in ("http", "https"):
        return "neither a file of the repository nor an address on the web"
    if not re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", host) or port or split.username:
        return "no public host"
    if not set(address) <= set(string.ascii_letters + string.digits + "-._~:/?#[]@!$&()*+,;=%"):
        return "holds a character that an address cannot"
    return "" if split.scheme == "https" or host in PLAIN else "http, where https is expected"


def target_fault(target: str, page: str, files: frozenset[str], read) -> str:
    """What is wrong with a link's target on `page`, "" for nothing. read: the Markdown of another page."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", target):
        return address_fault(target)
    path, _, anchor = target.partition("#")
    if path.startswith("/"):
        return "a path of some machine; write it relative to the page"
    there = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(path))) if path else page
    if there not in files:
        return "no such file in the repository"
    there = posixpath.join(there, "README.md") if anchor and f"{there}/README.md" in files else there
    if anchor and anchor not in anchors(there, read(there)):
        return "no such heading there"
    return ""


def names_something(name: str) -> bool:
    """Whether a dotted name of this project is a module, or a name that its module has: looked up in the source, nothing is imported."""
    module, _, own = name.rpartition(".")
    if not module:
        return False
    for path in (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py"):
        if path.is_file():
            return True
    for path in (ROOT / f"{module.replace('.', '/')}.py", ROOT / module.replace(".", "/") / "__init__.py"):
        if path.is_file():
            made = rf"^(?:def|class) {own}\b|^{own}\b[^=\n]*=|^(?:from|import)\b.*\b{own}\b"
            return re.search(made, path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    return names_something(module)  # a field or method of what stands in a module


def is_missing(mentioned: str, page: str = "") -> bool:
    """Whether what stands between backticks is a file, seen from the root or from `page`, or a dotted name of this project that there is not."""
    if FILE.fullmatch(mentioned) and mentioned.startswith(PROJECT):
        return not tracked() & {mentioned, posixpath.join(posixpath.dirname(page), mentioned)}
    return NAME.fullmatch(mentioned) is not None and not names_something(mentioned)


def test_links_lead_to_files_headings_and_well_formed_addresses():
    found = [f"{page}: {target}: {fault}" for page in pages() for target in targets(prose(page))
             if (fault := target_fault(target, page, tracked(), prose))]
    assert found == []


def test_addresses_in_code_are_well_formed_too():
    found = [f"{page}: {address}: {fault}" for page in pages() for match in ADDRESS.findall(prose(page))
             if (fault := address_fault(address := match.rstrip(".,;:)]*")))]
    assert found == []


def test_files_and_names_that_prose_mentions_are_there():
    found = [f"{page}: {span}" for page in pages() if not page.startswith(RECORDED)
             for span in code_spans(prose(page)) if is_missing(span, page)]
    assert found == []


def test_files_and_names_that_docstrings_mention_are_there():
    found = []
    for path in sorted((ROOT / "lib").rglob("*.py")):
        mentioned = re.findall(r"`([^`\s]+)`", path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(ROOT)}: {name}" for name in mentioned if is_missing(name)]
    assert found == []


def test_the_pages_are_all_seen():
    assert {"README.md", "data/salicon.md", "findings/README.md", "lib/runs/README.md", "notebooks/06_mrcnn.ipynb"} <= set(pages())
    assert sum(len(targets(prose(page))) for page in pages()) > 50
    assert sum(len(code_spans(prose(page))) for page in pages()) > 300


# ------------------------------------------------------------------------------------------------------- the checker itself

FILES = frozenset({".", "README.md", "data", "data/a.md", "data/b c.md", "notebooks", "notebooks/n.ipynb", "sub", "sub/README.md"})
TEXTS = {"README.md": "# Title\n", "data/a.md": "# The *first* `one`: yes\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n",
         "notebooks/n.ipynb": "# Where it goes\n", "sub/README.md": "# Sub\n"}


@pytest.mark.parametrize("target", ["a.md", "../README.md#title", "#the-first-one-yes", "#twice-1", "b%20c.md", "../sub/", "../sub#sub",
                                    "../notebooks/n.ipynb#Where-it-goes", "https://github.com/SenJia/EML-NET-Saliency", "https://doi.org/10.1109/CVPR.2015.7298633",
                                    "http://salicon.net"])
def test_a_target_that_is_there_passes(target):
    assert target_fault(target, "data/a.md", FILES, TEXTS.get) == ""


@pytest.mark.parametrize("target", ["c.md", "A.md", "data/a.md", "../../README.md", "/README.md", "#no-heading", "#twice-2", "#The-first-one-yes",
                                    "../sub#title", "../notebooks/n.ipynb#where-it-goes", "http://github.com/SenJia", "https://github",
                                    "https://localhost/x", "https://a.org:99999/", "https://a.org/x y", "https://a.org/„x", "https://me@a.org",
                                    "ftp://a.org/x", "file:///README.md", "C:/README.md"])
def test_a_target_that_is_not_there_is_a_fault(target):
    assert target_fault(target, "data/a.md", FILES, TEXTS.get)


def test_targets_are_found_in_every_form_and_not_in_code():
    text = ('[a](one.md) ![b](two.png "title") <https://three.org> https://four.org [c][r] <img src="five.png">\n\n'
            "| [d](six.md) |\n|---|\n| [e](seven.md) |\n\n"
            "[r]: eight.md\n\n`[x](not.md)`\n\n```\n[x](not.md)\n```\n\n    [x](not.md)\n")
    assert set(targets(text)) == {"one.md", "two.png", "https://three.org", "https://four.org", "five.png", "six.md", "seven.md", "eight.md"}


@pytest.mark.parametrize("name", ["lib.models.sampler", "lib.models.sampler.warp", "lib.models.grids.cell_grid", "lib.training.loop.Recipe.epochs",
                                  "lib/models/sampler.py", "somebody/elses.py", "nothing of the project"])
def test_what_is_there_is_not_missing(name):
    assert not is_missing(name)


@pytest.mark.parametrize("name", ["lib.models.samplers", "lib.models.sampler.warpp", "lib.nowhere", "lib.nowhere.warp", "lib/models/samplers.py",
                                  "data/nowhere.md"])
def test_what_is_not_there_is_missing(name):
    assert is_missing(name)
