"""Samples as tar files, the same bytes every time: no clock, no owner, members of a sample sorted by their endings."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write a tar file in one step: under its name it is whole, or not there.

    Args:
        path: The file.
        samples: Key, and ending → bytes, of each sample.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
            for key, members in samples:
                for ending in sorted(members):
                    member = tarfile.TarInfo(f"{key}.{ending}")
                    member.size = len(members[ending])
                    tar.addfile(member, io.BytesIO(members[ending]))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
