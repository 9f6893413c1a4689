"""Which extra of medzoo brings a library: the installed package's metadata say it, and pyproject.toml alone decides."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import requires

from medzoo.data.errors import MissingDependencyError

DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "gdcm": "python-gdcm", "hydra": "hydra-core", "jpeg_ls": "pyjpegls",
    "open_clip": "open_clip_torch", "openjpeg": "pylibjpeg-openjpeg", "PIL": "pillow", "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}  # fmt: skip
"""Module → distribution, where the names differ by more than a sign."""
NOT_FOR_USERS = ("all", "test", "dev", "docs")
"""Extras that no message names: one holds all others, three are for work on medzoo."""


@contextlib.contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Turn an import that fails into one line: MissingDependencyError with the library and the extra that brings it.

    Args:
        purpose: What cannot be done without it, in the plural: "CLIP models".
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or is_ours(error.name):
            raise
        raise MissingDependencyError(f"{purpose} need {missing(error.name)}") from error


def missing(module: str) -> str:
    """Return a library's name and how to install it: `monai: pip install 'medzoo[volumes]'`.

    Args:
        module: As it is imported, with or without submodules.
    """
    top = module.split(".")[0]
    name = DISTRIBUTIONS.get(top, top)
    extra = extra_of(name)
    return f"{top}: pip install {name if extra is None else repr(f'medzoo[{extra}]')}"


def is_ours(module: str) -> bool:
    """Whether a module is medzoo's own: where such a one is not found, medzoo is at fault and not the installation."""
    return module.split(".")[0] == "medzoo"


def extra_of(distribution: str) -> str | None:
    """Return the extra that brings a distribution, the smallest of several; None if it is in none."""
    wanted = _plain(distribution)
    holders = [extra for extra, names in _brought().items() if extra not in NOT_FOR_USERS and wanted in map(_plain, names)]
    return min(holders, key=lambda extra: len(_brought()[extra]), default=None)


def brought_by(extra: str) -> tuple[str, ...]:
    """Return the distributions that an extra requires itself, not by way of other extras."""
    return _brought().get(extra, ())


@cache
def _brought() -> dict[str, tuple[str, ...]]:
    """Read lines such as `pydicom<4,>=3.0; extra == "dicom"`."""
    found: dict[str, list[str]] = {}
    for line in requires("medzoo") or []:
        name = re.split(r"[^A-Za-z0-9._-]", line)[0]
        for extra in re.findall(r"""extra == ["']([\w-]+)["']""", line):
            if name != "medzoo":
                found.setdefault(extra, []).append(name)
    return {extra: tuple(names) for extra, names in found.items()}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
