"""What would find images that are not where a table says: another template, another root, or the spelling on the disk."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.datasets.table.paths import Places, image_paths, with_slashes
from medzoo.data.errors import DatasetError, MedzooError
from medzoo.data.images.files import NAMED, Missing
from medzoo.data.tables import TextTable
from medzoo.data.tables.words import identifier

_CANDIDATES = 50
"""Templates that are tried."""
_TRIED_ROWS = 200
"""Rows that a template is tried on before it is on all."""


_UNQUOTED = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Named:
    """What a table says of its images.

    Attributes:
        rows: The table.
        columns: Those with images.
        places: Where their files lie.
        template: How a cell becomes a path; None: as it is.
    """

    rows: TextTable
    columns: Sequence[str]
    places: Places
    template: str | None

    def paths(self) -> pd.Series:
        """Return all paths, column by column, missing where a cell is empty."""
        found, _ = image_paths(self.rows, self.columns, self.places, self.template)
        return pd.concat([found[column] for column in found], ignore_index=True)

    def part(self, rows: np.ndarray) -> Named:
        """Return what it says in some rows, by their positions."""
        return replace(self, rows=replace(self.rows, rows=self.rows.rows.iloc[rows]))


def refuse_absent(table: pd.DataFrame, named: Named, columns: Sequence[str], missing: Missing, dataset: str) -> None:
    """Stop if files are missing and it can be said how they would be found.

    Args:
        table: With paths.
        named: What they were read from.
        columns: With paths.
        missing: `error`: for any missing file; `skip`: if none is there; `ignore`: never.
        dataset: Name for messages.

    Raises:
        DatasetError: If so; names the option.
    """
    if missing == "ignore":
        return
    there = set(named.places.files or ())
    all_paths = pd.concat([table[column].dropna() for column in columns]).drop_duplicates()
    absent = sorted(str(path) for path in all_paths[~all_paths.isin(list(there))])
    if not absent or (missing != "error" and len(absent) < len(all_paths)) or (remedy := hint(named, there)) is None:
        return
    shown = ", ".join(absent[:NAMED]) + ", ..." * (len(absent) > NAMED)
    raise DatasetError(f"{dataset}: {len(absent)} image files are not there ({shown}); {remedy}")


def hint(named: Named, there: set[str]) -> str | None:
    """Return what would find files that are not there; None where nothing finds most of them.

    Args:
        named: What the table says of them.
        there: Paths of those that are.
    """
    old = named.paths()
    gone = old.notna() & ~old.isin(list(there))
    if not gone.any():
        return None
    place = int(np.argmax(gone))
    first, count = str(old.iloc[place]), len(named.rows)
    cell = str(named.rows[named.columns[place // count]].iloc[place % count])
    tried = named.part(np.unique(np.flatnonzero(gone) % count)[:_TRIED_ROWS])
    candidates = list(dict.fromkeys(_templates(first, cell, named.template or "{}", sorted(there))))
    some = tried.paths()
    sampled = {text: _finds(some, replace(tried, template=text).paths, there) for text in candidates}
    best, most = None, 0
    for text in sorted(candidates, key=lambda text: -sampled[text])[:3]:
        found = _finds(old, replace(named, template=text).paths, there) if sampled[text] else 0
        best, most = (text, found) if found > most else (best, most)
    if best is not None:
        return f"{_argument('path', best)} finds {most} of them"
    if (other := _without_folders(named, old, first, there)) is not None:
        return other
    lower = {file.lower(): file for file in there}
    if (spelt := lower.get(first.lower())) is not None:
        return f"{spelt!r} is there: upper and lower case count"
    return None


def _templates(first: str, cell: str, template: str, files: Sequence[str]) -> Iterator[str]:
    """Yield templates by which the first cell is a file that is there: the current one with more around it, or another."""
    start, ending = posixpath.splitext(template)
    known = [(first, template), (identifier(with_slashes(cell)), "{}")]
    if ending and not set("{}") & set(ending) and first.endswith(ending):
        known.insert(1, (first.removesuffix(ending), start))
    made = 0
    for text, inner in known:
        for file in files if text else ():
            for at in {file.find(text), file.rfind(text)} - {-1}:
                before, after = file[:at], file[at + len(text) :]
                if (before and before[-1] not in "/_-") or (after and after[0] not in "._-"):
                    continue
                yield f"{_escaped(before)}{inner}{_escaped(after)}"
                made += 1
            if made >= _CANDIDATES:
                return


def _argument(option: str, value: str) -> str:
    """Return an option as it is given in a shell: braces and blanks need the quotes of both."""
    if _UNQUOTED.fullmatch(value):
        return f"data.{option}={value}"
    escaped = value.replace("'", "\\'")
    return f"\"data.{option}='{escaped}'\""


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _finds(old: pd.Series, new: Callable[[], pd.Series], there: set[str], before: str = "") -> int:
    """Return how many of the files that are not there another reading finds.

    0 where they are not most of them, two would be one, or it loses what is found now.

    Args:
        old: Paths.
        new: Returns those of the other reading.
        there: Files that are there.
        before: What the other reading writes before them.
    """
    try:
        pairs = pd.DataFrame({"old": old, "new": new()}).dropna().drop_duplicates()
    except MedzooError:
        return 0
    was = pairs["old"].isin(list(there))
    files = pairs["new"].astype(str)
    now = files.str.startswith(before) & files.str[len(before) :].isin(list(there))
    found = pairs[now]
    if (was & ~now).any() or found["new"].duplicated().any() or found["old"].duplicated().any():
        return 0
    count = int((now & ~was).sum())
    return count if 2 * count > int((~was).sum()) else 0


def _without_folders(named: Named, old: pd.Series, first: str, there: set[str]) -> str | None:
    """Return how files are found that lie in the root without the first folders of their paths."""
    parts = first.split("/")
    folder = Path(os.path.abspath(named.places.folder))  # noqa: PTH100  # Path.absolute keeps `..`
    for count in range(1, len(parts)):
        if "/".join(parts[count:]) not in there:
            continue
        before = "/".join(parts[:count]) + "/"
        if folder.parts[1:][-count:] == tuple(parts[:count]):
            above = replace(named.places, folder=folder.parents[count - 1], files=[before + file for file in sorted(there)])
            if found := _finds(old, replace(named, places=above).paths, there, before):
                return f"{_argument('root', str(above.folder))} finds {found} of them"
        elif found := _finds(old, lambda: old.str.removeprefix(before), there):  # noqa: B023  # called at once
            return f"{found} of them are there without {before} before them: move them into {named.places.folder / before}"
    return None
