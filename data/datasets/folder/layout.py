"""Which folders are splits, which are classes: what a user's folder of folders means."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medzoo.data.dataset import SPLIT_WORDS
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.kinds import READ
from medzoo.data.tables.cells import in_quotes
from medzoo.data.tables.words import alike_key, identifier, is_no_label, split_of

_FOLD = re.compile(r"(?:fold|cv|k|part|split)[ _-]?\d+", re.IGNORECASE)
_MASKS = re.compile(r"(?:.*[ _-])?(?:masks?|segmentations?|segs?)", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How images lie below a folder.

    Attributes:
        classes: Of each image, the name of its class folder.
        splits: Of each image, train, val or test; None: the folders know no split.
        depth: How many folders lie above the class folders.
        inside: Whether the splits lie inside the class folders.
    """

    classes: list[str]
    splits: list[str] | None
    depth: int
    inside: bool = False


def read_layout(folder: Path, paths: Sequence[str], names: Sequence[str] | None) -> Layout:
    """Find out what the folders of images mean.

    Args:
        folder: The folder of folders.
        paths: Of its images, relative to it.
        names: Class names, or None.

    Raises:
        ConfigError: If the folders are folds.
        DatasetError: If some folders are splits and others are not, all images lie below one folder, or an image lies in none.
    """
    parts = [path.split("/") for path in paths]
    tops = sorted({part[0] for part in parts if len(part) > 1})
    named = names is not None and {identifier(top) for top in tops} <= set(names)
    words = {top: SPLIT_WORDS.get(identifier(top).lower()) if named else split_of(top) for top in tops}
    splits = bool(tops) and all(words.values())
    beside = [top for top in tops if not words[top]]
    if not splits and any(words.values()) and not named:
        known = [top for top in tops if words[top]]
        raise DatasetError(
            f"{folder}: {' and '.join(map(repr, known))} {'is a split' if len(known) == 1 else 'are splits'}, and beside "
            f"{'it stands' if len(known) == 1 else 'them stands'} {beside[0]!r}, which is none"
            + (f" ({len(beside)} such folders)" if len(beside) > 1 else "")
            + f"; move it elsewhere, or list all classes if these are classes: data.names=[{', '.join(tops[:6])}]"
        )
    if not splits and not named and tops and all(_FOLD.fullmatch(identifier(top)) for top in tops):
        raise ConfigError(
            f"{folder}: {', '.join(tops[:6])} are folds, not classes; put the class folders into train, val and test, or name "
            f"splits in a table (data=table, data.split); if they are classes, list them: data.names=[{', '.join(tops[:6])}]"
        )
    depth = 1 if splits else 0
    loose = [path for path, part in zip(paths, parts, strict=True) if len(part) <= depth + 1]
    if loose:
        form = "split/class/image" if splits else "class/image"
        raise DatasetError(f"{folder / loose[0]} lies in no class folder ({len(loose)} such images); images lie as {form}")
    classes = [identifier(part[depth]) for part in parts]
    if splits:
        return _checked(folder, parts, Layout(classes, [str(words[part[0]]) for part in parts], 1), names)
    if len(set(classes)) == 1 and names is None:
        within = sorted({part[1] for part in parts if len(part) > 2})
        below = f", with {', '.join(map(repr, within[:4]))} in it: set data.root={folder / tops[0]}" if within else ""
        raise DatasetError(f"{folder}: all {len(paths)} images lie below one folder, {tops[0]!r}{below}; two classes are needed")
    inner = [split_of(part[1]) if len(part) > 2 else None for part in parts]
    if any(inner):
        if not all(inner):
            stray, here = paths[inner.index(None)], parts[next(place for place, word in enumerate(inner) if word)][:2]
            raise DatasetError(
                f"{folder}: {'/'.join(here)!r} is a split inside a class, and {stray!r} lies in none; every image lies as "
                "class/split/image, or none does"
            )
        return _checked(folder, parts, Layout(classes, [str(word) for word in inner], 0, inside=True), names)
    return _checked(folder, parts, Layout(classes, None, 0), names)


def _checked(folder: Path, parts: Sequence[Sequence[str]], layout: Layout, names: Sequence[str] | None) -> Layout:
    """Return a layout, unless folders below those that it reads hold what those were taken for: masks, splits or classes.

    Args:
        folder: The folder of folders.
        parts: Of each image, the folders it lies in and its name.
        layout: What was read of them.
        names: Class names; with them, that the folders read are the classes was said.

    Raises:
        DatasetError: If they do, with what to do.
    """
    read = 1 if layout.splits is None else 2
    rest = [part[read:-1] for part in parts]
    own = [] if names is not None else [name for name in set(layout.classes) if _MASKS.fullmatch(name)]
    masks = [
        name in own or any(_MASKS.fullmatch(below) for below in folders)
        for name, folders in zip(layout.classes, rest, strict=True)
    ]
    if any(masks) and not all(masks):
        raise DatasetError(
            f"{folder / '/'.join(parts[masks.index(True)][:-1])}: masks beside images would be taken for images of "
            f"{'a class' if own else 'their class'}; move them elsewhere, or name the images in a table (data=table)"
        )
    for level in range(max(map(len, rest))):
        words = {split_of(below[level]) if len(below) > level else None for below in rest}
        if None not in words and len(words) > 1:
            raise DatasetError(
                f"{folder}: {'/'.join(parts[0][: read + level + 1])!r} names a split, and splits are read above the class "
                "folders (split/class/image) or right below them (class/split/image); move the folders, or name class and split "
                "in a table (data=table)"
            )
    if names is None and all(rest):
        within: dict[str, set[str]] = {}
        for part, below in zip(parts, rest, strict=True):
            within.setdefault(part[layout.depth], set()).add(identifier(below[0]))
        counts = Counter(name for found in within.values() for name in found)
        if len(counts) > 1 and min(counts.values()) > 1:
            tops = sorted(within)
            raise DatasetError(
                f"{folder}: {', '.join(map(repr, tops[:4]))} would be the classes, and the same folders lie in them "
                f"({', '.join(map(repr, sorted(counts)[:4]))}); if those are the classes, put them first (class/site/image, with "
                f"data.names=[{', '.join(sorted(counts)[:6])}] and the site by data.domain_pattern); if not, list the classes: "
                f"data.names=[{', '.join(tops[:6])}]"
            )
    return layout


def merged_folders(paths: Sequence[str], layout: Layout) -> list[str]:
    """Return a note for each class whose folders are written in several ways."""
    written: dict[str, set[str]] = {}
    for path, name in zip(paths, layout.classes, strict=True):
        written.setdefault(name, set()).add(path.split("/")[layout.depth])
    return [
        f"class {name!r}: folders {', '.join(map(repr, sorted(forms)))} are other writings of it"
        for name, forms in sorted(written.items())
        if len(forms) > 1
    ]


def check_one_folder(folder: Path, paths: Sequence[str], layout: Layout, stands: Mapping[str, str]) -> list[str]:
    """Refuse two classes that links make one folder, and return a note on image files that stand under several paths.

    Args:
        folder: The folder of folders.
        paths: Of its images.
        layout: What the folders mean.
        stands: Paths that lead to one file → the one that stands for it; see `medzoo.data.images.listing.same_files`.

    Raises:
        DatasetError: If two class folders are one: all its images would be of both classes.
    """
    below: dict[str, tuple[str, str]] = {}
    classes: dict[str, set[str]] = {}
    for path, name in zip(paths, layout.classes, strict=True):
        if path not in stands:
            continue
        top = "/".join(path.split("/")[: layout.depth + 1])
        first, its_class = below.setdefault(os.path.realpath(folder / top), (top, name))
        if its_class != name:
            raise DatasetError(
                f"{folder}: class folders {first!r} and {top!r} are one folder, by a link: its images would be of both classes; "
                "remove the link"
            )
        classes.setdefault(stands[path], set()).add(name)
    if not classes:
        return []
    both = sum(len(names) > 1 for names in classes.values())
    first = next(path for path in paths if path in stands and (not both or len(classes[stands[path]]) > 1))
    other = next(path for path in paths if path != first and stands.get(path) == stands[first])
    said = f"{len(classes)} image files stand under several paths by links to folders (such as {first} and {other})"
    return [f"{said}: the samples of one file are one group" + (f"; {both} of them are of several classes" if both else "")]


def check_class_folders(folder: Path, layout: Layout) -> None:
    """Refuse a class folder without images: left out in silence, the model would have a class less than the user sees."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if layout.depth:  # a class may be absent from some of the splits
        tops = [path for path in folders if split_of(path.name)]
        folders = [path for top in tops for path in sorted(top.iterdir()) if path.is_dir()]
    filled = set(layout.classes)
    for path in folders:
        if not path.name.startswith(".") and identifier(path.name) not in filled:
            raise DatasetError(
                f"{path} holds no image (known: {READ}); fill or remove it, or list the classes in data.names=[...]"
            )


def check_alike(folder: Path, layout: Layout) -> None:
    """Refuse classes whose folders differ in case or blanks alone and never stand in one split: one class written two ways."""
    if layout.splits is None:
        return
    where: dict[str, dict[str, set[str]]] = {}
    for name, split in zip(layout.classes, layout.splits, strict=True):
        where.setdefault(alike_key(name), {}).setdefault(name, set()).add(split)
    for found in where.values():
        if len(found) > 1 and sum(map(len, found.values())) == len(set().union(*found.values())):
            one, other = sorted(found)[:2]
            raise DatasetError(
                f"{folder}: class folder {one!r} of {', '.join(sorted(found[one]))} and {other!r} of "
                f"{', '.join(sorted(found[other]))} look alike; rename one, or list both in data.names if they are two classes"
            )


def check_words(folder: Path, layout: Layout) -> None:
    """Refuse class folders called by a word that usually says that there is no label: that of such images is no class."""
    asked = {name: layout.classes.count(name) for name in sorted(set(layout.classes)) if is_no_label(name)}
    if asked:
        listed = ", ".join(f"{name!r} ({count} images)" for name, count in list(asked.items())[:6]) + ", ..." * (len(asked) > 6)
        every = sorted(set(layout.classes))
        names = ", ".join(map(in_quotes, every[:12])) + ", ..." * (len(every) > 12)
        raise DatasetError(
            f"{folder}: class folder {listed}: images without a label? Move them elsewhere, or list all classes if it is one of "
            f"them: data.names=[{names}]"
        )
