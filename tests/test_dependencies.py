"""What may be installed is bounded on both sides, and no bound admits a version with a vulnerability known when it was set."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [
    Requirement(text)
    for part in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in part
    if not text.startswith("medzoo")
]
MENDED = {
    "onnx": ("1.21", "paths of external data outside the model's folder"),
    "transformers": ("5.3", "regular expressions without end, and code in checkpoints"),
    "requests": ("2.32.4", "CVE-2024-47081: credentials of .netrc sent elsewhere"),
    "pillow": ("10.3", "CVE-2024-28219: an overflow in ImageCms"),
    "pyarrow": ("17", "CVE-2023-47248 (14.0.1): code in IPC and Parquet files"),
    "opencv-python-headless": ("4.12", "CVE-2025-53644: JPEG files written over memory that is not theirs"),
    "torch": ("2.6", "CVE-2025-32434: code in files read with weights_only"),
}
"""Distribution → first version without what was known of it, and what that was."""


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_every_dependency_is_bounded_on_both_sides(requirement: Requirement) -> None:
    signs = {part.operator for part in requirement.specifier}
    assert "==" in signs or (signs & {">=", ">"} and signs & {"<", "<="}), str(requirement)


@pytest.mark.parametrize("name", MENDED)
def test_no_bound_admits_a_version_with_a_known_vulnerability(name: str) -> None:
    floor, why = MENDED[name]
    found = [r for r in REQUIREMENTS if r.name.lower() == name]
    assert found
    for requirement in found:
        lowest = min(Version(part.version) for part in requirement.specifier if part.operator in (">=", "=="))
        assert lowest >= Version(floor), f"{requirement}: {why}"


LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = {
    (canonicalize_name(name), Version(version)): re.findall(r"--hash=(\S+)", hashes)
    for name, version, hashes in re.findall(r"^([\w.-]+)==([^\s;]+)[^\\\n]*((?:\\\n +--hash=\S+ ?)*)", LOCK, re.MULTILINE)
}
"""(Distribution, version) → the hashes that stand for it."""
NOT_LOCKED = ("gpu", "all")
"""gpu excludes cpu; all is the others."""


@pytest.mark.parametrize(
    "requirement",
    [
        Requirement(text)
        for texts in (
            PROJECT["dependencies"],
            *(texts for extra, texts in PROJECT["optional-dependencies"].items() if extra not in NOT_LOCKED),
        )
        for text in texts
    ],
    ids=lambda r: r.name,
)
def test_the_lock_holds_what_the_bounds_allow(requirement: Requirement) -> None:
    """Where it does not, `make lock` writes it anew."""
    versions = [version for name, version in LOCKED if name == canonicalize_name(requirement.name)]
    assert versions, f"{requirement.name} is not locked"
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), (str(requirement), versions)


def test_the_lock_holds_no_known_vulnerability() -> None:
    for name, (floor, why) in MENDED.items():
        assert [version for locked, version in LOCKED if locked == name and version < Version(floor)] == [], why


def test_the_lock_has_hashes_and_names_no_index() -> None:
    assert len(LOCKED) > 100
    for found, hashes in LOCKED.items():
        assert hashes, found
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), found
    assert sum(map(len, LOCKED.values())) == LOCK.count("--hash=")  # no line was read otherwise
    told = "\n".join(line for line in LOCK.splitlines() if not re.match(r"\s*(--hash|# via|#   )", line))
    assert not re.search(r"://|--(extra-)?index|--find-links| @ ", told)
