"""Addresses that the documentation once gave go on, say where they lie now, and cost nothing while nobody uses them."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medzoo.moved import GONE_IN, MOVED

ROOT = Path(__file__).parents[1]
TEXTS = [
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "pyproject.toml", "docs/**/*", "*/**/*.py", "conf/**/*.yaml")
    for path in sorted(ROOT.glob(pattern))
    if path.suffix in (".md", ".py", ".toml", ".yaml", ".mjs") and path not in (ROOT / "zoo" / "moved.py", Path(__file__))
    if path.relative_to(ROOT).parts[0] not in ("build", ".venv", "runs")
]
KEYS = {
    "datasets", "external", "format", "labels", "licence", "nothing_here", "outputs", "preprocess", "report", "sha256", "spec",
    "tokenizer", "version",
}  # fmt: skip
"""What follows `medzoo.` in an ONNX file's metadata, an entry-point group's name and a test's made-up name."""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("old", MOVED)
def test_an_old_address_warns_and_is_the_module_at_the_new_one(old: str) -> None:
    done = run(f"import sys, {old}, {MOVED[old]}; print(sys.modules[{old!r}] is {MOVED[old]})")
    assert done.stdout.strip() == "True"
    warned = [line for line in done.stderr.splitlines() if "DeprecationWarning" in line]
    assert warned == [f"<string>:1: DeprecationWarning: {old} is now {MOVED[old]}; the old address goes in medzoo {GONE_IN}"]


@pytest.mark.parametrize(
    "line",
    [
        "from medzoo.export.predict import list_images",
        "from medzoo.data.templates import DEFAULT_TEMPLATES",
        "from medzoo.data.decode import decode_image, read_image",
        "from medzoo.data.augment_policies import POLICIES",
    ],
)
def test_what_the_documentation_imported_is_there(line: str) -> None:
    assert "DeprecationWarning" in run(line).stderr


@pytest.mark.parametrize(
    "line",
    ["from medzoo.data.splits import hash_split, merge_groups", "from medzoo.data.samples import SampleDataset, collate"],
)
def test_a_room_has_what_the_module_of_its_name_had(line: str) -> None:
    assert run(line).stderr == ""


def test_an_address_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"medzoo\.data\.decoder"):
        __import__("medzoo.data.decoder")


def test_every_address_in_prose_and_strings_is_there() -> None:
    found: dict[str, Path] = {}
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        imported = re.findall(r"from (medzoo[\w.]*) import ([\w, ]+)", text)
        names = {f"{module}.{word.split(' as ')[0].strip()}" for module, words in imported for word in words.split(",")}
        names |= set(re.findall(r"(?<![\w./-])medzoo(?:\.[A-Za-z_]\w*)+", text))
        found |= dict.fromkeys((name.rstrip(".") for name in names), path)
    assert len(found) > 500
    assert {name: path for name, path in found.items() if name.split(".")[1] not in KEYS and not is_there(name)} == {}


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or in one; old addresses do not count."""
    if any(name == old or name.startswith(f"{old}.") for old in MOVED):
        return False
    module, *rest = name.split(".")
    while rest and importlib.util.find_spec(f"{module}.{rest[0]}") is not None:
        module = f"{module}.{rest.pop(0)}"
        if not hasattr(importlib.import_module(module), "__path__"):
            break
    home = importlib.import_module(module)
    return not rest or hasattr(home, rest[0])
