"""Which rows of Derm1M are one sample, which belong together, and where their image lies.

The files give a row no identity: an image may have several captions, and so several rows. What belongs together is known for
videos alone: frames are named `youtube/<video id>_frame_<n>_<m>.jpg`. No pattern of article or post ids is documented for
the other sources, so there an image is a group of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd

from medzoo.data.derm1m_tables import COLUMNS, NAME
from medzoo.data.errors import DatasetError

VIDEO_FRAME = r"([^/]+)_frame_\d+_\d+\.\w+$"
"""The last part of a file name that is a video's frame; the group is the id. The folder is not looked at, for a validation
image of the same video may lie in another one."""

_DIGITS = 12  # 48 bits: they need only differ among the captions of one image


def content_ids(rows: pd.DataFrame) -> pd.Series:
    """Return `<filename>#<12 hexadecimal digits of the caption's SHA-256>`: a row's content, not its place.

    Args:
        rows: The columns of the files; a missing caption counts as empty.
    """
    captions = rows["caption"].astype(object).where(rows["caption"].notna(), "")
    ids = [f"{name}#{_digest(caption)}" for name, caption in zip(rows["filename"].tolist(), captions.tolist(), strict=True)]
    return pd.Series(ids, index=rows.index, dtype=object)


def drop_copies(rows: pd.DataFrame, ids: pd.Series) -> tuple[pd.DataFrame, pd.Series, tuple[str, ...]]:
    """Leave out rows that repeat another of their split in every column.

    Args:
        rows: The columns of the files, and `split`.
        ids: Their `content_ids`.

    Returns:
        The other rows, their ids, and a note that counts the copies.
    """
    # Few rows share image and caption: only these are compared whole.
    copies = rows[ids.duplicated(keep=False)].duplicated(["split", *COLUMNS])
    dropped = copies.index[copies]
    if not len(dropped):
        return rows, ids, ()
    note = f"{len(dropped)} of {len(rows)} rows repeat another one in every column and are left out"
    return rows.drop(index=dropped), ids.drop(dropped), (note,)


def sample_ids(rows: pd.DataFrame, ids: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Return ids of which no two are alike: where image and caption are, a digest of all cells follows.

    Args:
        rows: The columns of the files, and `split`; without copies.
        ids: Their `content_ids`.

    Returns:
        (N,) text, and a note that counts the rows with a second digest.
    """
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
    """Return which pretrain rows are of a group that has validation rows too.

    Args:
        groups: (N,) group names.
        pretrain: (N,) which rows are of the pretrain file.
    """
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
