"""Writing that survives being killed: a temporary folder, fsync, rename, then a pointer file is replaced.

A pointer is a small text file that holds the name of a folder beside it. Readers follow the pointer and so never see a folder
that is half written; a process killed at any moment leaves the last complete one in place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from medzoo.data.errors import TrainingError


def remedy(error: OSError) -> str:
    """Return what helps where nothing could be written: not space alone may be missing."""
    return "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see that this place can be written to"


def write_file(path: Path, content: bytes) -> None:
    """Replace a file in one step; TrainingError if it cannot be written (no space, no permission): the old file is untouched."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(temporary, content)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # a path through a file
            temporary.unlink()
        raise TrainingError(f"cannot write {path}: {error.strerror or error}; {remedy(error)}, the old file stands") from error


def write_folder(parent: Path, name: str, files: Mapping[str, bytes], pointer: str) -> Path:
    """Write a folder of files (relative path → content) and point to it; the folder appears complete or not at all.

    The file `pointer`, in `parent` beside the folder, then names it. Returns the folder; TrainingError if it cannot be written:
    what the pointer named before still stands.
    """
    temporary, final = parent / f".{name}.tmp", parent / name
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        for relative, content in files.items():
            path = temporary / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(path, content)
        for folder in {(temporary / relative).parent for relative in files}:
            sync_folder(folder)
        if final.exists():  # of an earlier, abandoned course of the same run
            shutil.rmtree(final)
        temporary.replace(final)
        sync_folder(parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise TrainingError(
            f"cannot save {final}: {error.strerror or error}; {remedy(error)} and resume, the last saved state stands"
        ) from error
    write_file(parent / pointer, name.encode("utf-8"))
    return final


def pointed_folder(parent: Path, pointer: str) -> Path | None:
    """Return the complete folder a pointer names, or None when there is none."""
    path = parent / pointer
    if not path.is_file():
        return None
    folder = parent / path.read_text(encoding="utf-8").strip()
    return folder if folder.is_dir() else None


def prune(parent: Path, pointers: Iterable[str]) -> None:
    """Remove the folders of `parent` that no pointer names, and what a killed process left behind."""
    kept = {folder.name for folder in (pointed_folder(parent, p) for p in pointers) if folder is not None}
    for path in parent.iterdir():
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make renames in a folder last; OSError if the system cannot open folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
