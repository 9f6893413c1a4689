"""Which files are images: below a folder, or of what a command was given; by content, and what is left out is counted.

A file whose name says that it is an image is one, so that a damaged one is reported and never passed over; of every other file
the first bytes decide. Hidden files, and what file managers leave (`._x.png`, `__MACOSX`, `Thumbs.db`), are no one's data.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, DatasetError, ImageError
from medzoo.data.images.decode import require_several
from medzoo.data.images.frames import CHANNELS, MEMBERS, Frame, count_frames
from medzoo.data.images.frames import VOLUME as VOLUME_OF_FRAMES
from medzoo.data.images.kinds import (
    NO_FILE,
    PLANE,
    READ,
    SUFFIXES,
    VOLUME,
    VOLUME_SUFFIXES,
    file_kind,
    is_endless,
    is_folder,
    is_there,
    summary,
)
from medzoo.data.images.planes.read import SUFFIX as ARRAY

VOLUMES = "NIfTI, and directories of DICOM slices, which this model of volumes takes"
LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"))
"""What file managers leave beside images, in lower case; names that begin with a dot are left out before."""
MAX_PATHS = 256
"""Paths by which links may lead to one folder."""


@dataclass(frozen=True)
class Listing:
    """The images found, and what lay beside them.

    Attributes:
        found: Names with what to read, in order.
        left_out: The kind of each file below the folders that is no image of the kind asked for.
    """

    found: list[tuple[str, Path | Frame | NDArray[Any]]]
    left_out: tuple[str, ...] = ()

    @property
    def note(self) -> str | None:
        """One line that counts what was left out, by kind; None if nothing was."""
        return f"left out: {summary(self.left_out)} (not images that are read here)" if self.left_out else None


def walk(root: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it with forward slashes, sorted.

    Hidden files and folders and those of `LEFT_BY_SYSTEMS` are left out, and so are pipes, sockets and devices. Symbolic links to
    folders are followed by whichever path they stand in, so that a folder's files are listed under every path that leads to it;
    one that leads to a folder it lies in ends there.

    Raises:
        ImageError: If links lead to one folder by more than `MAX_PATHS` paths: links in a ring make more of them than there is
            time for.
    """
    found: list[str] = []
    ways = Counter[tuple[int, int]]()
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        prefix, above = waiting.pop()
        try:
            status = (root / prefix).stat()
            with os.scandir(root / prefix) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError:  # one that may not be read, as os.walk has it
            continue
        own = (status.st_dev, status.st_ino)
        if own in above:
            continue
        ways[own] += 1
        if ways[own] > MAX_PATHS:
            raise ImageError(
                f"{root / prefix}: symbolic links lead to this folder by more than {MAX_PATHS} paths; remove them, or name a "
                "folder without them"
            )
        inside = [entry.name for entry in entries if is_users(entry.name) and _leads_to_folder(entry)]
        waiting += [(f"{prefix}{name}/", above | {own}) for name in reversed(inside)]
        below = set(inside)
        found += [
            prefix + entry.name for entry in entries if is_users(entry.name) and entry.name not in below and _may_be_file(entry)
        ]
    return sorted(found)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is no pipe, socket or device, whose reading would wait or never end; a link to nothing may be."""
    if entry.is_file(follow_symlinks=False):  # which the listing tells, without a look at each
        return True
    try:
        return not is_endless(entry.path)
    except OSError:
        return True


class RealPaths:
    """Where paths below a folder lie, links to folders followed. Each folder is looked at once.

    Args:
        root: The folder that paths are relative to.

    Attributes:
        root: Where it lies itself, absolute and without links.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._known: dict[str, tuple[str, frozenset[str]]] = {}

    def __call__(self, path: str) -> str:
        """Return where a path leads, absolute; the same text for all paths that lead to one file by links to folders."""
        folder, _, name = path.rpartition("/")
        if folder not in self._known:
            self._known[folder] = self._look(folder)
        real, links = self._known[folder]
        return os.path.realpath(f"{real}/{name}") if name in links else f"{real}/{name}"

    def _look(self, folder: str) -> tuple[str, frozenset[str]]:
        """Return a folder without links, as it is written where there are none, and the links to folders that lie in it."""
        written = f"{self.root}/{folder}" if folder else self.root
        real = os.path.realpath(written)
        try:
            with os.scandir(real) as listed:
                links = frozenset(entry.name for entry in listed if entry.is_symlink() and _leads_to_folder(entry))
        except (OSError, ValueError):  # it is not there: who reads the file says so
            links = frozenset()
        return (written if real == os.path.normpath(written) else real), links


def same_files(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return path → the path that stands for it, of those that links to folders make lead to a file that another leads to, too.

    That is the one that no link leads to, or the first of those with links.

    Args:
        root: The folder that paths are relative to.
        paths: Of its files.
    """
    real, found = RealPaths(root), dict[str, list[str]]()
    for path in dict.fromkeys(paths):
        found.setdefault(real(path), []).append(path)
    several = {place: sorted(alike) for place, alike in found.items() if len(alike) > 1}
    plain = {place: place.removeprefix(f"{real.root}/") for place in several}
    return {
        path: plain[place] if plain[place] in alike else alike[0] for place, alike in several.items() for path in alike
    }  # fmt: skip


def list_files(root: Path, suffixes: Sequence[str] = (), *, once: bool = False) -> list[str]:
    """Return the paths below a folder, as `walk`, without those that are not UTF-8, which no table can write.

    Args:
        root: The folder.
        suffixes: Lower-case endings to keep; () keeps every file.
        once: Each file once, whatever links lead to it, for who takes all files or looks for their names; see `same_files`.

    Raises:
        DatasetError: If there is no such folder.
    """
    if not is_folder(root):
        raise DatasetError(f"no folder at {root}; set data.root to where the dataset lies")
    ends = tuple(suffixes)
    found = [path for path in walk(root) if (not ends or path.lower().endswith(ends)) and is_utf8(path)]
    if not once:
        return found
    stands = same_files(root, found)
    return [path for path in found if stands.get(path, path) == path]


def images_below(root: Path, dimensions: int = 2, *, planes: bool = False) -> tuple[list[str], list[str]]:
    """Return the images below a folder, relative to it and sorted, and the kinds of the files that are none.

    Args:
        root: The folder.
        dimensions: 2 for images of one plane, 3 for volumes (NIfTI, and directories of DICOM slices).
        planes: Whether arrays of planes (.npy) are images, too.

    Raises:
        ImageError: If the name of an image is not UTF-8: nothing that is written of it could name it.
    """
    found, left_out, series = [], [], set[str]()
    suffixes: tuple[str, ...] = SUFFIXES if dimensions == 2 else VOLUME_SUFFIXES
    others: tuple[str, ...] = VOLUME_SUFFIXES if dimensions == 2 else SUFFIXES
    suffixes += (ARRAY,) if planes else ()
    for path in walk(root):
        lowered = path.lower()
        named = lowered.endswith(suffixes)
        kind = None if named or lowered.endswith(others) else file_kind(root / path)
        if dimensions == 3 and not named and not planes and (kind == "DICOM" or lowered.endswith((".dcm", ".dicom"))):
            series.add(path.rpartition("/")[0] or ".")
        elif named or kind in (PLANE if dimensions == 2 else VOLUME):
            found.append(path)
        else:
            left_out.append(_kind_by_name(lowered, kind) if kind in (None, "text", "zip", "gzip", "video") else str(kind))
    for path in (*found, *series):
        if not is_utf8(path):
            written = os.fsencode(root / path).decode("utf-8", "backslashreplace")
            raise ImageError(f"{written}: this name is not UTF-8; rename it")
    return [*found, *sorted(series)], left_out


def find_images(paths: Sequence[Path], key: str | None = None, dimensions: int = 2, frames: str | None = None) -> Listing:
    """Return what a command was given as images: files, folders (searched with all below them), `.npz` archives of arrays.

    Args:
        paths: In the order they were given; a folder's images are sorted. A file is taken whatever its name.
        key: The array of an `.npz` file.
        dimensions: 2 for a model of images, 3 of volumes: what is looked for in folders, a directory of DICOM slices then one.
        frames: What becomes of files of several frames: `members`, each is an image `path[0]`, `path[1]`, ...; `volume`, a
            model of volumes takes them, and they are looked for in folders; None: their reader says.

    Raises:
        ImageError: If a path does not exist, a folder holds no image, or an .npz has no such array of images.
        ConfigError: If there is a key and no .npz.
    """
    found: list[tuple[str, Path | Frame | NDArray[Any]]] = []
    left_out: list[str] = []
    if key is not None and not any(path.suffix.lower() == ".npz" for path in paths):
        raise ConfigError(f"--key {key} names an array of an .npz file, and none is given; leave it out")
    for path in paths:
        if is_folder(path):
            inside, others = images_below(path, 2 if frames == VOLUME_OF_FRAMES else dimensions, planes=frames == CHANNELS)
            if not inside:
                beside = f"; it holds {summary(others)}" if others else ""
                known = READ if dimensions == 2 or frames == VOLUME_OF_FRAMES else VOLUMES
                raise ImageError(f"no image in folder {path} (known: {known}){beside}")
            found += [named for file in inside for named in _members(path / file, frames)]
            left_out += others
        elif not is_there(path):
            raise ImageError(f"no such file or folder: {path}")
        elif is_endless(path):
            raise ImageError(f"{path}: {NO_FILE}")
        elif path.suffix.lower() == ".npz":
            found += _arrays(path, key, dimensions)
        else:
            found += _members(path, frames)
    return Listing(found, tuple(left_out))


def list_images(paths: Sequence[Path], key: str | None = None) -> list[tuple[str, Path | Frame | NDArray[Any]]]:
    """Return names with what to read, in order, as `find_images`, which also says what was left out."""
    return find_images(paths, key).found


def _members(path: Path, frames: str | None) -> list[tuple[str, Path | Frame | NDArray[Any]]]:
    """Return a file with its name, or where frames are members each of several with its own."""
    if frames != MEMBERS:
        return [(str(path), path)]
    members = [Frame(path, number) for number in range(count_frames(path))]
    # One that says several and cannot hold them counts as one: read as a frame, it is told what is wrong, not to be taken apart.
    return [(str(path if len(members) == 1 else frame), frame) for frame in members]


def is_users(name: str) -> bool:
    """Whether a name is not one that begins with a dot, nor one that file managers leave."""
    return not name.startswith(".") and name.lower() not in LEFT_BY_SYSTEMS


def is_utf8(path: str) -> bool:
    """Whether a path is text: POSIX allows any bytes, and Python keeps those that are not UTF-8 as halves of characters."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind_by_name(lowered: str, kind: str | None) -> str:
    """Return a file's kind by its ending, which says more than that it is text or packed; without one what its bytes tell."""
    name = lowered.rpartition("/")[2]
    if name.endswith(".nii.gz"):
        return "nii.gz"
    stem, dot, ending = name.rpartition(".")
    return ending if dot and stem and 0 < len(ending) <= 8 and is_utf8(ending) else kind or "of unknown kind"


def _arrays(path: Path, key: str | None, dimensions: int) -> list[tuple[str, Path | Frame | NDArray[Any]]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            candidates = [k for k in archive.files if k.endswith("images")] or list(archive.files)
            if key is None and len(candidates) != 1:
                raise ImageError(f"{path} holds several arrays; choose one with --key: {', '.join(candidates)}")
            chosen = key or candidates[0]
            if chosen not in archive.files:
                raise ImageError(f"{path} has no array {chosen!r}; it has {', '.join(archive.files)}")
            images = archive[chosen]
    except ImageError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"cannot read {path}: {error}") from error
    except Exception as error:  # zipfile's own family, without importing it for its name
        raise ImageError(f"cannot read {path}: {type(error).__name__}: {error}") from error
    if images.ndim < dimensions:
        form = "N, H, W" if dimensions == 2 else "N, D, H, W"
        raise ImageError(f"{path}: array {chosen!r} has shape {list(images.shape)}, not ({form}) or ({form}, C)")
    try:
        require_several(images, dimensions)
    except ImageError as error:
        raise ImageError(f"{path}: {chosen}: {error}") from None
    if not len(images):
        raise ImageError(f"{path}: array {chosen!r} holds no image: its shape is {list(images.shape)}")
    return [(f"{path}:{chosen}[{i}]", image) for i, image in enumerate(images)]
