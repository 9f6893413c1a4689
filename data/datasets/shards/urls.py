"""Which tar files are meant: paths and addresses with braces, files fetched once, checksums. Nothing is run."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medzoo.data.download import fetch_file
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.info import RemoteFile
from medzoo.data.options import local_path, text_list

MOST_SHARDS = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w./-]+?))?/([^@]+)")
_SUM = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(.+)")


def find_shards(urls: Any, root: Path | None, download: bool, checksums: Mapping[str, str]) -> list[Path]:
    """Return the tar files of the option `urls`, in its order, fetched where they are addresses and not there yet.

    Args:
        urls: A text or a list of texts, with braces and `*`; None: every .tar file of the root.
        root: Folder that names are relative to, and what is fetched goes to.
        download: Whether shards may be fetched.
        checksums: File name → its SHA-256.

    Raises:
        ConfigError: If nothing is named, a command or an unknown scheme is, or one shard twice.
        DatasetError: If there are no such files, or one cannot be fetched.
    """
    if urls is None:
        if root is None:
            raise ConfigError(
                "data=shards needs data.urls=<your shards>, such as 'train-{000..009}.tar', or their folder, data.root"
            )
        found = sorted(root.glob("*.tar"))
        if not found:
            raise DatasetError(f"no .tar file in {root}; set data.root to the folder of the shards, or name them in data.urls")
        return found
    named = [urls] if isinstance(urls, str | Path) else text_list(urls, "urls") or []
    patterns = [part for url in named for part in str(url).split("::") if part]
    if not patterns:
        raise ConfigError("data.urls names no shard")
    paths: list[Path] = []
    for pattern in patterns:
        _refuse_commands(pattern)
        for url in expand(pattern):
            paths += _local(url, root, download, checksums)
            if len(paths) > MOST_SHARDS:
                raise ConfigError(f"data.urls names more than {MOST_SHARDS:,} shards; write larger ones")
    twice = next((path for path in paths if paths.count(path) > 1), None) if len(set(paths)) < len(paths) else None
    if twice is not None:
        raise ConfigError(f"data.urls names {twice} twice; name every shard once")
    return paths


def expand(pattern: str) -> Iterator[str]:
    """Yield the texts of a pattern with braces: `{000..009}` counts, `{a,b}` lists; as many as there are.

    Raises:
        ConfigError: If a brace is neither, or alone.
    """
    match = _BRACES.search(pattern)
    if match is None:
        if "{" in pattern or "}" in pattern:
            raise ConfigError(f"data.urls={pattern}: a brace stands alone; write {{000..009}} or {{a,b}}")
        yield pattern
        return
    inside, counted = match[1], _RANGE.fullmatch(match[1])
    if counted is not None:
        first, last = int(counted[1]), int(counted[2])
        if last < first or last - first >= MOST_SHARDS:
            raise ConfigError(f"data.urls={pattern}: {{{inside}}} counts {first} to {last}; at most {MOST_SHARDS:,}, upwards")
        width = len(counted[1]) if counted[1].startswith("0") else 0
        words: Sequence[str] = [str(number).zfill(width) for number in range(first, last + 1)]
    elif "," in inside:
        words = inside.split(",")
    else:
        raise ConfigError(f"data.urls={pattern}: {{{inside}}} is neither {{000..009}} nor {{a,b}}")
    for word in words:
        yield from expand(f"{pattern[: match.start()]}{word}{pattern[match.end() :]}")


def read_checksums(given: Any, root: Path | None) -> dict[str, str]:
    """Return file name → SHA-256 of the option `checksums`: a file as `sha256sum` writes it, or a mapping; empty without.

    Of files of one name the folders stay before it.

    Raises:
        DatasetError: If the file cannot be read, or a line or sum is none.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        pairs = [(f"data.checksums.{name}", f"{value}  {name}") for name, value in given.items()]
    else:
        path = local_path(given, "checksums")
        if root is not None and not path.is_file():
            path = root / path
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise DatasetError(f"data.checksums={given} cannot be read ({error.args[-1]})") from None
        pairs = [(f"{path.name} line {number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
    found: list[tuple[str, str]] = []
    for where, line in pairs:
        match = _SUM.fullmatch(line.strip())
        if match is None:
            raise DatasetError(f"{where}: no SHA-256 and name of a file; write it with sha256sum *.tar")
        found.append((match[2], match[1].lower()))
    several: dict[str, set[str]] = {}
    for name, digest in found:
        several.setdefault(name.rpartition("/")[2], set()).add(digest)
    # Copies know a file by its name alone; its folders tell it from another of that name.
    short = {name: name.rpartition("/")[2] for name, _ in found}
    return {short[name] if len(several[short[name]]) == 1 else posixpath.normpath(name): digest for name, digest in found}


def checksum_of(path: Path, checksums: Mapping[str, str]) -> str | None:
    """Return the SHA-256 that a shard must have; None where none is given.

    Args:
        path: The shard.
        checksums: As `read_checksums` returns them.

    Raises:
        DatasetError: If several are given for its name, and none for its folders.
    """
    parts = path.parts
    ends = [path.as_posix(), *("/".join(parts[start:]) for start in range(1, len(parts)))]
    found = next((checksums[end] for end in ends if end in checksums), None)
    if found is None and any(name.endswith(f"/{path.name}") for name in checksums):
        raise DatasetError(f"{path}: data.checksums has several {path.name}, none in such a folder; name it as it lies here")
    return found


def _refuse_commands(pattern: str) -> None:
    scheme = _SCHEME.match(pattern)
    if scheme is None:
        return
    if scheme[1].lower() == "pipe":
        raise ConfigError(f"data.urls={pattern[:60]}: commands are not run; fetch the shards and name their files")
    if scheme[1].lower() not in ("https", "hf", "file"):
        raise ConfigError(
            f"data.urls={pattern[:60]}: {scheme[1]}: is none of https, hf and files; copy the shards, name the files"
        )


def _local(url: str, root: Path | None, download: bool, checksums: Mapping[str, str]) -> list[Path]:
    if url.lower().startswith(("https:", "hf:")):
        return [_fetched(url, root, download, checksums)]
    path = local_path(url.removeprefix("file://").removeprefix("file:"), "urls")
    wild = next((place for place, part in enumerate(path.parts) if "*" in part or "?" in part), None)
    if wild is None:
        return [path if root is None else root / path]
    # The root and what comes before are taken as they are written, letters that mean something to glob too.
    before = Path(*path.parts[:wild]) if root is None else root.joinpath(*path.parts[:wild])
    try:
        found = sorted(before.glob("/".join(path.parts[wild:])))
    except ValueError as error:
        raise ConfigError(f"data.urls={url}: {error}; write * for what differs in a name") from None
    if not found:
        raise DatasetError(f"no shard is named {path if root is None else root / path}; set data.urls")
    return found


def _fetched(url: str, root: Path | None, download: bool, checksums: Mapping[str, str]) -> Path:
    if url.lower().startswith("hf:"):
        match = _HUB.fullmatch(url)
        if match is None:
            raise ConfigError(
                f"data.urls={url} is no file of a dataset on the hub; write hf://datasets/<owner>/<name>/<file>.tar"
            )
        address = f"https://huggingface.co/datasets/{match[1]}/resolve/{match[2] or 'main'}/{match[3]}"
    else:
        address = url
    name = re.split(r"[?#]", address)[0].rpartition("/")[2]
    if root is None:
        raise ConfigError(f"data.urls={url} is fetched into data.root; set it")
    if not name or name.startswith(".") or "\\" in name:
        raise ConfigError(f"data.urls={url} ends in no name of a file")
    path = root / name
    if path.exists():
        return path
    if not download:
        raise DatasetError(f"{path} is not there; fetch it with data.download=true")
    if name not in checksums:
        raise DatasetError(f"no checksum of {name} is known; give data.checksums=<file>, as sha256sum writes it")
    return fetch_file(RemoteFile(name, address, f"sha256:{checksums[name]}"), root)
