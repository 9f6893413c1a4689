"""Addresses that the documentation once gave go on, say where they lie now, and cost nothing while nobody uses them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medzoo.moved import GONE_IN, MOVED


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
