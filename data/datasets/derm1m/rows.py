"""Which rows of Derm1M are one sample, which belong together, and where their image lies.

The files give a row no identity: an image may have several captions, and so several rows. What belongs together is known for
videos alone: frames are named `youtube/<video id>_frame_<n>_<m>.jpg`. No pattern of article or post ids is documented for
the other sources, so there an image is a group of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medzoo.data.datasets.derm1m.tables import COLUMNS, NAME, by_text
from medzoo.data.errors import DatasetError

VIDEO_FRAME = r"([^/]+)_frame_\d+_\d+\.\w+$"
"""The last part of a file name that is a video's frame; the group is the id. The folder is not looked at, for a validation
image of the same video may lie in another one."""

OLDEST = 120.0
"""Years; an age above it counts as missing."""
BANDS: Mapping[str, float] = {"0 to 17": 18, "18 to 39": 40, "40 to 59": 60, "60 to 79": 80, "80 and over": np.inf}
"""Band → the age in years that it ends below; the bands of medzoo's reports."""
_GENDERS = {"male": "male", "m": "male", "man": "male", "female": "female", "f": "female", "woman": "female"}
# 45, 45.0, 45 years, 45 years old, 45-year-old, 45 y/o, 45yo, aged 45, age: 45, 6 months, 3-week-old, 10 days. A lone m may
# mean months or male, so it is not taken.
_AGE = re.compile(
    r"(?:aged?\s*:?\s*)?(?P<number>\d{1,3}(?:\.\d+)?)(?:[\s-]*(?P<unit>years?|yrs?|yo|y/o|y\.o|y|months?|mos?|weeks?|wks?|days?|d))?"
    r"(?:[\s-]*(?:old|of age))?\.?",
    re.IGNORECASE,
)
_UNITS_A_YEAR = {"y": 1.0, "m": 12.0, "w": 365.25 / 7, "d": 365.25}  # by the unit's first letter
_DIGITS = 12  # 48 bits: they need only differ among the captions of one image


def content_ids(rows: pd.DataFrame) -> pd.Series:
    """Return `<filename>#<12 hexadecimal digits of SHA-256 of the caption, or of empty text>`: a row's content, not its place."""
    captions = rows["caption"].astype(object).where(rows["caption"].notna(), "")
    ids = [f"{name}#{_digest(caption)}" for name, caption in zip(rows["filename"].tolist(), captions.tolist(), strict=True)]
    return pd.Series(ids, index=rows.index, dtype=object)


def drop_copies(rows: pd.DataFrame, ids: pd.Series) -> tuple[pd.DataFrame, pd.Series, tuple[str, ...]]:
    """Return the rows that repeat no other of their `split` in every column, their `content_ids`, and a note on the copies."""
    # Few rows share image and caption: only these are compared whole.
    copies = rows[ids.duplicated(keep=False)].duplicated(["split", *COLUMNS])
    dropped = copies.index[copies]
    if not len(dropped):
        return rows, ids, ()
    note = f"{len(dropped)} of {len(rows)} rows repeat another one in every column and are left out"
    return rows.drop(index=dropped), ids.drop(dropped), (note,)


def sample_ids(rows: pd.DataFrame, ids: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Return ids of rows without copies: their `content_ids`, where two are alike with a digest of all cells; and a note."""
    same = ids.duplicated(keep=False)
    if not same.any():
        return ids, ()
    cells = rows.loc[same, ["split", *COLUMNS]].astype(object)
    whole = cells.where(cells.notna(), "").agg("\x1f".join, axis=1)
    longer = ids.where(~same, ids + "-" + whole.map(_digest).reindex(ids.index))
    return longer, (f"{int(same.sum())} rows share image and caption with another but not all columns: each stays a sample",)


def source_groups(filenames: pd.Series) -> pd.Series:
    """Return `video/<id>` for frames of videos, the file name itself for other images."""
    video = filenames.str.extract(VIDEO_FRAME, expand=False)
    return ("video/" + video).where(video.notna(), filenames)


def in_both(groups: pd.Series, pretrain: pd.Series) -> pd.Series:
    """Return (N,) which pretrain rows, as `pretrain` marks them, are of a group that has validation rows too."""
    return pretrain & groups.isin(set(groups[~pretrain]))


def place_images(filenames: pd.Series, present: Sequence[str]) -> pd.Series:
    """Return where each image lies, whichever way the archives were unpacked.

    An image `youtube/a.jpg` is looked for at `youtube/a.jpg`; at `youtube/youtube/a.jpg`, as when an archive that holds its
    top folder was unpacked into a folder of its name; and at `a.jpg`, as when one without it was unpacked in place.

    Args:
        filenames: As the files name them.
        present: Relative paths that are there.

    Returns:
        (N,) relative paths; the file name itself where nothing is found.

    Raises:
        DatasetError: If a file without its top folder could be either of two images.
    """
    paths = filenames.astype(object)
    absent = ~filenames.isin(set(present))
    if not absent.any():
        return paths
    names = paths[absent].drop_duplicates()
    free = set(present) - set(paths)  # a file that has its own row is no other row's image
    top, _, rest = (names.str.partition("/")[part] for part in range(3))
    found = pd.Series(pd.NA, index=names.index, dtype=object)
    for candidate in (top + "/" + names, rest):
        found = found.where(found.notna() | ~candidate.isin(free), candidate)
    twice = found.dropna().duplicated(keep=False)
    if twice.any():
        file = found.dropna()[twice].iloc[0]
        first, second, *_ = names[found == file].sort_values()
        raise DatasetError(
            f"{NAME}: file {file!r} could be {first!r} or {second!r}; unpack each archive into a folder of its own name"
        )
    paths[absent] = paths[absent].map(dict(zip(names, found.where(found.notna(), names), strict=True)))
    return paths


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_DIGITS]


def ages(texts: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Return ages in years, NaN where not said, not a number with or without a unit, or over 120; and notes.

    Args:
        texts: Free text or missing, such as `45`, `45 years old`, `6 months`; ranges and words such as `40s` or `adult` are
            not turned into a number.
    """
    years = by_text(texts, _years).astype(np.float64)
    notes = _counted(texts, years.isna(), "ages", "are not a number of years, months, weeks or days")
    old = years > OLDEST
    notes += _counted(texts, old, "ages", f"are over {OLDEST:g} years")
    return years.mask(old).astype(np.float32), notes


def age_bands(years: pd.Series) -> pd.Series:
    """Return the band of each age, missing where the age is."""
    band = np.searchsorted(list(BANDS.values()), years.to_numpy(), side="right")  # NaN sorts behind the last
    return pd.Series(np.array([*BANDS, None], dtype=object)[band], index=years.index, dtype=object)


def genders(texts: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Return `female` or `male`, missing where the text is neither word nor its first letter; and a note."""
    words = by_text(texts, lambda text: _GENDERS.get(text.casefold()))
    return words, _counted(texts, words.isna(), "genders", "are neither female nor male in one word")


def _years(text: str) -> float | None:
    match = _AGE.fullmatch(text)
    return None if match is None else float(match["number"]) / _UNITS_A_YEAR[(match["unit"] or "y")[0].casefold()]


def _counted(texts: pd.Series, lost: pd.Series, what: str, why: str) -> tuple[str, ...]:
    some = texts[lost & texts.notna()]
    if not len(some):
        return ()
    return (f"{len(some)} of {int(texts.notna().sum())} {what} {why} (such as {some.min()!r}) and count as missing",)
