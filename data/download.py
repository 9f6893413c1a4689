"""Files as their authors serve them: fetched when asked, and never used with a wrong checksum.

pooch downloads to a temporary name, compares the checksum and only then gives the file its name. What it lacks is going
on after a broken line, which the sets of several gigabytes need: `_Resumable` keeps what came in
`<name>.<checksum>.part` and asks the server for the rest.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo.data.errors import DatasetError
from medzoo.data.extras import needed_for
from medzoo.data.info import RemoteFile

LOCK = ".medzoo-download.lock"
"""Lets one process at a time write into a folder; no one's data, as its dot says."""
_CHUNK = 1 << 16  # the most that a broken line loses
_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
_TRIES = 4


def file_checksum(path: Path, algorithm: str) -> str:
    """Return the hexadecimal checksum of a file, read in pieces, by an algorithm `hashlib` knows, such as `md5` or `sha256`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def verify_file(path: Path, file: RemoteFile, known: dict[str, str] | None = None) -> None:
    """Compare a file with the checksum its authors publish.

    Args:
        path: The file on this machine.
        file: What it must be.
        known: Checksums of other releases → what they are, so that the message can say which one this is.

    Raises:
        DatasetError: If it differs; the message gives both sums and the remedy.
    """
    algorithm, expected = file.checksum.split(":")
    found = file_checksum(path, algorithm)
    if found == expected:
        return
    release = (known or {}).get(found)
    kind = f"is {release}" if release else f"is damaged or of another release ({path.stat().st_size:,} bytes)"
    raise DatasetError(
        f"{path} {kind}: its {algorithm.upper()} is {found}, the published one {expected}; delete it and load "
        f"again with data.download=true, or accept it as it is with data.verify=false"
    )


def fetch_file(file: RemoteFile, root: Path) -> Path:
    """Download a file into a folder unless a file of that name is there already.

    Args:
        file: What to fetch; its checksum decides whether the download is kept.
        root: The folder; made when missing.

    Returns:
        The path of the file. One that was there before is not checked here; see `verify_file`.

    Raises:
        DatasetError: If the server cannot be reached or refuses, the checksum is wrong, or the disk is full.
    """
    path = root / file.name
    if path.exists():
        return path
    with needed_for("downloads"):
        import filelock
        import pooch
        import requests
    by_hand = f"try again, or download it by hand to {path}"
    downloader = _Resumable(root / f"{file.name}.{file.checksum.split(':')[1][:8]}.part")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / LOCK):  # it dies with its process
            # Another process (a second rank) may have fetched it while this one waited for the lock.
            if not path.exists():
                pooch.retrieve(file.url, known_hash=file.checksum, fname=file.name, path=root, downloader=downloader)
    except requests.exceptions.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise DatasetError(f"cannot download {file.name}: {file.url} answered {status}; {by_hand}") from None
    except requests.exceptions.RequestException as error:
        broke = isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ReadTimeout)
        reason = "the connection broke (what came is kept)" if broke else "no connection"
        raise DatasetError(f"cannot download {file.name} from {file.url}: {reason}; {by_hand}") from None
    except OSError as error:
        raise DatasetError(f"cannot save {path}: {error.strerror or error}") from None
    except ValueError:  # pooch's word for a checksum that differs; it has deleted the file
        raise DatasetError(
            f"what {file.url} serves does not have the published checksum {file.checksum}; it was not kept; {by_hand}"
        ) from None
    return path


@dataclass(frozen=True)
class _Resumable:
    """A pooch downloader that goes on where a broken one stopped."""

    part: Path

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        for attempt in range(_TRIES):
            try:
                self._fetch_rest(url)
                break
            # Bytes that stop coming, not a server that refuses or cannot be found.
            except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout):
                if attempt == _TRIES - 1:
                    raise
        shutil.move(self.part, output_file)

    def _fetch_rest(self, url: str) -> None:
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        # identity: a compressed answer would have other offsets than the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if have and response.status_code == 416:  # nothing is left to send; the checksum decides
                return
            response.raise_for_status()
            goes_on = response.status_code == 206
            length = response.headers.get("Content-Length")
            total = None if length is None else int(length) + (have if goes_on else 0)
            with self.part.open("ab" if goes_on else "wb") as out:
                for chunk in response.iter_content(_CHUNK):
                    out.write(chunk)
        if total is not None and self.part.stat().st_size < total:
            raise requests.exceptions.ChunkedEncodingError(f"{self.part.stat().st_size} of {total} bytes came")
