"""What a table writes of its images' files → paths below the dataset's folder."""

from __future__ import annotations

import os
import posixpath
import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from medzoo.data.errors import ConfigError
from medzoo.data.images.files import Missing, list_files, with_folders
from medzoo.data.tables import TextTable
from medzoo.data.tables.words import identifier

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
LOOKED_AT = 1000
"""Absolute paths outside the folder that are looked up on this machine."""
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")


@dataclass(frozen=True)
class Places:
    """Where the files of a table lie.

    Attributes:
        folder: That paths are relative to.
        table: The folder of the table.
        files: Relative paths of files that are there, and of the directories that they lie in; None: nobody looked.
    """

    folder: Path
    table: Path
    files: Sequence[str] | None


def places_of(folder: Path, table: Path, missing: Missing, suffixes: Sequence[str] = ()) -> Places:
    """Return where the files of a table lie.

    Args:
        folder: That paths are relative to.
        table: The folder of the table.
        missing: `ignore`: nobody looks.
        suffixes: Endings of the files that count; () for all.

    Raises:
        DatasetError: If there is no such folder.
    """
    return Places(folder, table, None if missing == "ignore" else with_folders(list_files(folder, suffixes)))


def image_paths(
    rows: TextTable, columns: Sequence[str], places: Places, template: str | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return relative paths with forward slashes, a column for each of `columns`, missing where the cell is empty.

    Absolute paths, file:// addresses and paths of Windows are read where they lie below the folder; those of another machine
    where their end does. A file is found in whichever Unicode form its name is written.

    Args:
        rows: The table.
        columns: Those with images.
        places: Where the files lie.
        template: How a cell becomes a path, with {} for the cell and {column} for others; None: as it is.

    Returns:
        The paths, and notes on how they were read.

    Raises:
        ConfigError: If the template is none.
        DatasetError: If a path leaves the folder, or is an address; names its line.
    """
    notes: list[str] = []
    written = {}
    for column in columns:
        cells = rows[column] if template is None else _filled(rows, column, template)
        codes, words = pd.factorize(cells.to_numpy(dtype=object))
        slashed = [with_slashes(str(word)) for word in words]
        wrong = np.array([bool(_ADDRESS.match(word)) for word in slashed], dtype=bool)
        rows.refuse(pd.Series(wrong[codes], index=rows.rows.index), column, "which is an address", "download the images first")
        inside = _below(slashed, places)
        outside = np.array([path is None for path in inside], dtype=bool)
        if outside.any():
            inside, more = _from_elsewhere(slashed, inside, places, codes)
            notes += more
            outside = np.array([path is None for path in inside], dtype=bool)
            remedy = f"paths must lie below it ({places.folder}); set data.root to the folder they lie below"
            rows.refuse(pd.Series(outside[codes], index=rows.rows.index), column, "which leaves the dataset's folder", remedy)
        found, forms = _in_their_form(inside, places.files)
        if forms:
            notes.append(f"{forms} file names are written in another Unicode form than on the disk: found all the same")
        text = pd.Series(np.array(found, dtype=object)[codes], index=rows.rows.index)
        written[column] = text.where(text != "", None)
    return pd.DataFrame(written), tuple(notes)


def named_paths(words: pd.Series, places: Places) -> pd.Series:
    """Return names of samples that are paths of images as `image_paths` writes them; what is no path below the folder as it is.

    Args:
        words: As another table writes them.
        places: Where the files lie.
    """
    codes, written = pd.factorize(words.to_numpy(dtype=object))
    slashed = [with_slashes(str(word)) for word in written]
    found, _ = _from_elsewhere(slashed, _below(slashed, places), places, codes)
    names = [str(word) if path is None else unicodedata.normalize("NFC", path) for word, path in zip(written, found, strict=True)]
    return pd.Series(np.array(names, dtype=object)[codes], index=words.index)


def with_slashes(word: str) -> str:
    """Return a written path with forward slashes, that of a file:// address without what makes it one."""
    if word.lower().startswith("file:"):
        try:
            parts = urlsplit(word.replace("\\", "/"))
        except ValueError:
            return word  # and then it is refused
        word = unquote(parts.path) if parts.netloc in ("", "localhost") else f"//{parts.netloc}{unquote(parts.path)}"
        word = word[1:] if re.match(r"/[A-Za-z]:", word) else word
    return word.replace("\\", "/")


def _filled(rows: TextTable, column: str, template: str) -> pd.Series:
    """Return a template's text for each row; empty where the cell is."""
    try:
        parts = list(string.Formatter().parse(template))
        named = [name for _, name, _, _ in parts if name is not None]
        if "" not in named:
            raise ValueError("it has no {}")
        values: Mapping[str, pd.Series] = {name: rows[name or column].map(identifier) for name in named}
        made = [
            "".join(text + ("" if name is None else format(row[name], spec or "")) for text, name, spec, _ in parts)
            for row in ({name: values[name].iloc[place] for name in values} for place in range(len(rows)))
        ]
    except ValueError as error:
        raise ConfigError(f"data.path={template} is no template such as images/{{}}.jpg ({error})") from None
    return pd.Series(made, index=rows.rows.index, dtype=object).where(rows[column] != "", "")


def _below(words: Sequence[str], places: Places) -> list[str | None]:
    """Return each path relative to the folder; None where it lies elsewhere."""
    roots = list(dict.fromkeys((places.folder.absolute().as_posix(), Path(os.path.realpath(places.folder)).as_posix())))
    roots = [posixpath.normpath(root) for root in roots]
    table = posixpath.normpath(places.table.absolute().as_posix())
    real: dict[str, str] = {}

    def relative(whole: str) -> str | None:
        for root in roots:
            if whole.startswith(root + "/") or root == "/":
                return whole[len(root) :].lstrip("/")
        return None

    found: list[str | None] = []
    for word in words:
        if not word or not ("/" in word or word in (".", "..")):
            found.append(word if word not in (".", "..") else None)
            continue
        if _ABSOLUTE.match(word):
            whole = posixpath.normpath(word)
            inside = relative(whole)
            if inside is None:  # through a link
                parent = posixpath.dirname(whole)
                if parent not in real:
                    real[parent] = Path(os.path.realpath(parent)).as_posix()
                inside = relative(f"{real[parent]}/{posixpath.basename(whole)}") if real[parent] != parent else None
            found.append(inside)
            continue
        path = posixpath.normpath(word)
        if path.startswith("../") or path in (".", ".."):
            path = relative(posixpath.normpath(f"{roots[0]}/{word}")) or relative(posixpath.normpath(f"{table}/{word}")) or ""
        found.append(path or None)
    return found


def _from_elsewhere(
    words: Sequence[str], inside: Sequence[str | None], places: Places, codes: np.ndarray
) -> tuple[list[str | None], list[str]]:
    """Read absolute paths of another machine where they end like files that are here, all beginning with one folder."""
    foreign = [place for place, path in enumerate(inside) if path is None and _ABSOLUTE.match(words[place])]
    result = list(inside)
    # A file that is here, in another folder, is no file of this folder, however its path ends; os says no of names too long.
    if not foreign or any(os.path.exists(words[place]) for place in foreign[:LOOKED_AT]):  # noqa: PTH110
        return result, []
    # Nothing else tells where they lie, even if nobody is to look whether files are there.
    files = list_files(places.folder) if places.files is None and places.folder.is_dir() else places.files or []
    there = {unicodedata.normalize("NFC", file) for file in files}
    parts = [[part for part in words[place].split("/") if part] for place in foreign]
    common = len(posixpath.commonprefix([tuple(part[:-1]) for part in parts]))
    counts = [sum("/".join(part[cut:]) in there for part in parts) for cut in range(common + 1)]
    if not max(counts):
        return result, []
    cut = counts.index(max(counts))
    for place, part in zip(foreign, parts, strict=True):
        result[place] = "/".join(part[cut:])
    ends = [path for path in result if path is not None]
    if len(set(ends)) < len(ends):  # two files of theirs would be one of these
        return list(inside), []
    count = int(np.isin(codes, foreign).sum())
    return result, [f"{count} image paths are absolute: read below the dataset's folder, where their ends are found"]


def _in_their_form(paths: Sequence[str | None], files: Sequence[str] | None) -> tuple[list[str | None], int]:
    """Return paths as the disk writes them, and how many that changed."""
    if files is None:
        return list(paths), 0
    there = set(files)
    forms = {unicodedata.normalize("NFC", file): file for file in files if not file.isascii()}
    found = [path if path is None or path in there else forms.get(unicodedata.normalize("NFC", path), path) for path in paths]
    return found, sum(one != other for one, other in zip(found, paths, strict=True))
