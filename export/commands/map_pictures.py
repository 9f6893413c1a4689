"""The maps that an exported file gives, as pictures over the images: NumPy and Pillow alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.laid import blended, onto_image
from medzoo.export.runtime.model import OnnxModel

MAP = "map"


class MapPictures:
    """Writes what speaks for an output, laid over each image.

    Args:
        path: The model's file, for messages.
        model: The same, opened.
        folder: Where pictures go; made if it is not there.
        names: Classes, findings or concepts to write; None: of each image the one the model says most of.

    Raises:
        ConfigError: If the file has no maps.
        UnknownNameError: If it has none of that name.
    """

    def __init__(self, path: Path, model: OnnxModel, folder: Path, names: Sequence[str] | None = None) -> None:
        if MAP not in model.outputs or model.labels is None:
            raise ConfigError(
                f"{path} has no maps: medzoo export run=... map=true writes them into the file where they are exact; of any "
                "other model medzoo explain run=... makes them"
            )
        self._model, self._folder = model, folder
        self._known, self._output = (model.concepts, "concepts") if model.concepts else (model.labels.names, "logits")
        for name in names or ():
            if name not in self._known:
                raise UnknownNameError("map", name, self._known)
        self._names = names
        self._written: dict[Path, tuple[str, str]] = {}

    def write(self, name: str, source: Any, outputs: Mapping[str, NDArray[Any]]) -> list[Path]:
        """Write the pictures of one image, `<image>.<output>.png`.

        Args:
            name: The image's.
            source: What it was read from.
            outputs: What the model said of it, output name → its row.

        Raises:
            ConfigError: If one cannot be written, or another image's has the name.
        """
        pixels, wanted = self._model.read(source), self._model.spec["preprocess"]
        shown = self._names or [self._known[int(np.argmax(outputs[self._output]))]]
        files = []
        for output in shown:
            cells = outputs[MAP][self._known.index(output)]
            picture = blended(pixels, onto_image(cells, wanted["size"], wanted["mode"], pixels.shape[:-1]))
            file = self._folder / re.sub(r"[^\w.-]+", "_", f"{name}.{output}.png").lstrip(".")
            before, label = self._written.setdefault(file, (name, output))
            if before != name:
                raise ConfigError(f"{file} would be of {before} and of {name}; predict them into two folders")
            if label != output:  # "<5" and ">5": what no file is called by is one letter
                raise ConfigError(f"{file} would be of {label!r} and of {output!r}; write one of them at a time")
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(file)
            except OSError as error:
                raise ConfigError(f"cannot write {file}: {error.strerror or error}") from error
            files.append(file)
        return files

    @property
    def count(self) -> int:
        """How many pictures were written."""
        return len(self._written)
