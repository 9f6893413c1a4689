"""A bundle: a checkpoint in one folder with all that belongs to it, and a manifest of every file's SHA-256."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medzoo.data.download import file_checksum
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.hub.signatures import SIGNATURE, verify_bundle
from medzoo.store.checkpoint import SPEC, WEIGHTS
from medzoo.store.directory import MANIFEST, refuse_bundle
from medzoo.store.storage import write_file

FORMAT = 1
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".msgpack", ".h5", ".npy")
"""How files end that can hold code, or that another program would unpickle."""


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        folder: Where it is.
        hash: SHA-256 of its manifest: one number for all of it.
        files: Path in it → SHA-256.
        signed: Whether its signature was verified.
    """

    folder: Path
    hash: str
    files: Mapping[str, str]
    signed: bool = False


def write_bundle(folder: Path, copied: Mapping[str, Path], made: Mapping[str, bytes]) -> Bundle:
    """Write a bundle into an empty folder.

    Args:
        folder: Where to; made if it is not there.
        copied: Path in the bundle → a file that is taken as it is.
        made: Path in the bundle → content.

    Raises:
        ConfigError: If something is in the folder already, or it is a file.
    """
    require_free(folder)
    for name, source in copied.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for name, content in made.items():
        write_file(folder / name, content)
    files = {name: file_checksum(folder / name, "sha256") for name in sorted({*copied, *made})}
    manifest = json.dumps({"format": FORMAT, "files": files}, indent=2).encode("utf-8")
    write_file(folder / MANIFEST, manifest)
    return Bundle(folder, hashlib.sha256(manifest).hexdigest(), files)


def require_free(folder: Path) -> None:
    """Check that a bundle can be written into a folder; ConfigError if something is there, or it lies in another bundle."""
    refuse_bundle(folder.parent)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: give a folder, which need not be there")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty: give another folder")


def read_bundle(folder: Path, key: str | None = None) -> Bundle:
    """Check a bundle before anything of it is used: its signature, that each file is the manifest's, that there are no others.

    Args:
        folder: Where it is.
        key: As for `medzoo.hub.signatures.verify_bundle`.

    Raises:
        CheckpointError: If it is none, was changed, holds what its manifest does not name, or its signature does not hold.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"no {MANIFEST} in {folder}: it is no bundle of medzoo push")
    there = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    seen = [name for name in there if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    for name in seen:
        if PurePosixPath(name).suffix.lower() in PICKLES:
            raise CheckpointError(f"{folder.name} holds {name}, a file that can run code when it is read: do not use this bundle")
    signed = verify_bundle(folder, key)
    try:
        content = path.read_bytes()
        described = json.loads(content)
        files = {str(name): str(checksum) for name, checksum in described["files"].items()}
        if described["format"] != FORMAT:
            raise CheckpointError(f"{path} is of format {described['format']!r}, not {FORMAT}; update medzoo")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error}); fetch the bundle again") from error
    strange = [name for name in seen if name not in files and name not in (MANIFEST, SIGNATURE)]
    if strange:
        said = f"{folder.name} holds {strange[0]}, which its manifest does not name"
        raise CheckpointError(f"{said}: remove it, or fetch the bundle into an empty folder")
    for name, checksum in files.items():
        if name not in seen or file_checksum(folder / name, "sha256") != checksum:
            raise CheckpointError(f"{folder.name}: {name} is missing or not the file of its manifest: fetch the bundle again")
    for name in (WEIGHTS, SPEC):
        if name not in files:
            raise CheckpointError(f"{folder.name} holds no {name}: it is no bundle of a model")
    return Bundle(folder, hashlib.sha256(content).hexdigest(), files, signed)
