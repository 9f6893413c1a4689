"""Prose is checked: what docstrings, comments, YAML and docs name of medzoo, and the files they speak of, exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = [path for room in ("zoo", "data", "export", "conf") for path in sorted((ROOT / room).rglob("*.py"))]
TEXTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "conf").rglob("*.yaml")),
]
DOTTED = re.compile(r"(?<![\w./-])medzoo(?:\.(?:[A-Za-z_]\w*|\{[\w, ]+\}))+")
FILES = re.compile(r"(?<![\w./~-])(?:zoo|data|export|conf|tests|docs|benchmarks)/[\w./*-]*(?![\w<{])")
NAMED = re.compile(r"`([A-Za-z_]\w*)`\s+(?:of|in)\s+`((?:zoo|data|export|conf|tests|docs)/[\w/]+\.py)`")
IMPORTS = re.compile(r"^from (medzoo[\w.]*) import ([\w, ]+)", re.MULTILINE)
LINKS = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def prose_of(source: str) -> str:
    """Return the docstrings (of attributes too) and comments of Python code."""
    texts = [node.value.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr) and _is_text(node.value)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n\n".join([*texts, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@cache
def keys() -> frozenset[str]:
    """Return what looks like a name and is a key: metadata of ONNX files, groups of entry points. The code spells them out."""
    constants = (node.value for path in CODE for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    return frozenset(value for value in constants if isinstance(value, str) and re.fullmatch(r"medzoo\.[a-z0-9_]+", value))


def resolves(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one (of its classes: annotated ones too)."""
    parts = name.split(".")
    length = 1
    while length < len(parts) and importlib.util.find_spec(".".join(parts[: length + 1])) is not None:
        length += 1
        if not hasattr(importlib.import_module(".".join(parts[:length])), "__path__"):
            break
    found = importlib.import_module(".".join(parts[:length]))
    for part in parts[length:]:
        if hasattr(found, part):
            found = getattr(found, part)
        elif not (isinstance(found, type) and any(part in vars(base).get("__annotations__", {}) for base in found.__mro__)):
            return False
        else:
            found = None
    return True


def names_in(text: str) -> Iterator[str]:
    """Yield the dotted names of a text, and what its code imports; `medzoo.data.{errors,labels}` is two."""
    for module, imported in IMPORTS.findall(text):
        yield from (f"{module}.{name.split()[0]}" for name in imported.split(","))
    for written in DOTTED.findall(text):
        choices = [part[1:-1].replace(" ", "").split(",") if part[0] == "{" else [part] for part in _parts(written)]
        yield from (".".join(parts) for parts in product(*choices))


def _parts(written: str) -> list[str]:
    return re.findall(r"\w+|\{[^}]*\}", written)


def wrong(text: str, place: Path) -> list[str]:
    """Return what a text speaks of and is not there.

    Args:
        text: Prose.
        place: Folder that its links start from.
    """
    found = [name for name in names_in(text) if name not in keys() and not resolves(name)]
    for path in FILES.findall(text):
        path = path.rstrip(".-/")
        if not (any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()):
            found.append(path)
    for name, path in NAMED.findall(text):
        if (ROOT / path).exists() and not re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")):
            found.append(f"{name} in {path}")
    links = (link for link in LINKS.findall(text) if "://" not in link and not link.startswith("mailto:"))
    return found + [link for link in links if not (place / link).exists()]


@pytest.mark.parametrize("path", [*CODE, *TEXTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_prose_speaks_of_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":  # the source of a wording is part of its hash: it stays as it was when the wording was made
        text = re.sub(r"^source:.*$", "", text, flags=re.MULTILINE)
    assert wrong(prose_of(text) if path.suffix == ".py" else text, path.parent) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see `medzoo.data.errors.ConfigErorr`", ["medzoo.data.errors.ConfigErorr"]),
        ("see `medzoo.data.seen_groups` and medzoo.data.dataset.", ["medzoo.data.seen_groups"]),
        ("`medzoo.data.dataset.Dataset.table`, `medzoo.data.dataset.Dataset.tabel`", ["medzoo.data.dataset.Dataset.tabel"]),
        ("of `medzoo.data.{errors, lables}`", ["medzoo.data.lables"]),
        ("`medzoo.spec` is a key of the file, `medzoo.specs` none; `medzoo.datasets` a group", ["medzoo.specs"]),
        ("medzoo.load_dataset, medzoo.loads", ["medzoo.loads"]),
        ("from medzoo.data.errors import ConfigError, ConfigErorr as E", ["medzoo.data.errors.ConfigErorr"]),
        ("in `data/dataset.py`, data/datasets.py.", ["data/datasets.py"]),
        ("`zoo/models/`, `zoo/model/`, `conf/prompts/*.yaml`, `conf/prompt/*.yaml`", ["zoo/model", "conf/prompt/*.yaml"]),
        ("`conf/data/<name>.yaml`, ~/data/scin, /data/scin, onnx/docs/External.md, the data/", []),
        ("`_BUILT_IN` in `data/registry.py`, `_BUILTIN`\nof `data/registry.py`", ["_BUILTIN in data/registry.py"]),
        ("[a](clip.md) [b](klip.md#x) [c](https://example.org/klip.md)", ["klip.md"]),
    ],
)
def test_a_made_up_name_is_found(text: str, found: list[str]) -> None:
    assert wrong(text, ROOT / "docs") == found


def test_prose_is_docstrings_and_comments_and_nothing_else() -> None:
    source = '"""Module."""\nx = "medzoo.text"  # comment\n"""Attribute."""\ndef f():\n    """Function."""\n    return "text"\n'
    assert prose_of(source).split("\n\n") == ["Module.", "Attribute.", "Function.", "# comment"]
