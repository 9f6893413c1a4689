"""Which image files a command was given: files, folders, archives of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.images.decode import SUFFIXES


def list_images(paths: Sequence[Path], key: str | None = None) -> list[tuple[str, Path | NDArray[Any]]]:
    """Return names with what to read, in order; folders are searched recursively and sorted.

    Raises:
        ImageError: If a path does not exist, a folder holds no image, or an .npz has no such array of images.
        ConfigError: If there is a key and no .npz.
    """
    found: list[tuple[str, Path | NDArray[Any]]] = []
    if key is not None and not any(path.suffix.lower() == ".npz" for path in paths):
        raise ConfigError(f"--key {key} names an array of an .npz file, and none is given; leave it out")
    for path in paths:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not files:
                raise ImageError(f"no image in folder {path} (known: {', '.join(SUFFIXES)})")
            found += [(str(file), file) for file in files]
        elif not path.exists():
            raise ImageError(f"no such file or folder: {path}")
        elif path.suffix.lower() == ".npz":
            found += _arrays(path, key)
        else:
            found.append((str(path), path))
    return found


def _arrays(path: Path, key: str | None) -> list[tuple[str, Path | NDArray[Any]]]:
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
    if images.ndim < 3:
        raise ImageError(f"{path}: array {chosen!r} has shape {list(images.shape)}, not (N, H, W) or (N, H, W, C)")
    return [(f"{path}:{chosen}[{i}]", image) for i, image in enumerate(images)]
