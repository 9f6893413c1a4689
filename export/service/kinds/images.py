"""Samples that are single images, each answered by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medzoo.data.images.planes.stack import takes_planes
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.asked import OPTIONS
from medzoo.export.service.kinds.decode import decoded, preview_of
from medzoo.export.service.kinds.kind import Ready, Row, Tensor
from medzoo.export.service.limits import Held, Limits, RefusedError, too_many
from medzoo.export.service.sent import IMAGE, LONGEST_NAME, Upload, safe_name
from medzoo.export.service.tensors import image_of, metadata_of, type_name


def uploads_of(given: Mapping[str, Any], part: str, beside: Sequence[str] = ()) -> list[Upload]:
    """Return the files of a request that has one kind of part; RefusedError if it has others, or none of it.

    Args:
        given: What the request holds by name.
        part: Name of the parts that are files.
        beside: Names of what may stand beside them.
    """
    for name, value in given.items():
        if name not in (part, *beside) and isinstance(value, list):
            raise RefusedError(422, f"a file is in the part {name[:LONGEST_NAME]!r}; what is answered are parts named {part}")
        if name not in (part, *beside):
            raise RefusedError(422, f"unknown option {name[:LONGEST_NAME]!r}; known: {', '.join((*beside, *OPTIONS))}")
    files = given.get(part)
    if not isinstance(files, list) or not files or not all(isinstance(one, Upload) for one in files):
        raise RefusedError(422, f"no {part} is in the request; send files as parts named {part} of a form, or in JSON")
    return files


class Images:
    """Images of one model, as `medzoo.export.service.kinds.kind.Kind` says; of a text tower nothing is asked.

    Args:
        model: Which takes them.
        limits: Of the service.
    """

    def __init__(self, model: OnnxModel, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._corrected = ("concept_values", "concept_mask") if model.concepts else ()

    def of_request(self, given: Mapping[str, Any]) -> list[Upload]:
        """Return the files of a request, each a sample."""
        return uploads_of(given, IMAGE)

    def of_tensors(self, inputs: Mapping[str, Any]) -> list[Upload]:
        """Return the images of a tensor, or of strings that are files."""
        model, images = self._model, inputs.get(IMAGE)
        if images is None:
            raise RefusedError(400, "input 'image' is missing")
        if len(images) > self._limits.images:
            raise too_many(len(images), self._limits.images)
        check_pixels(IMAGE, images, np.dtype(model.spec["preprocess"]["dtype"]), model.dimensions)
        return [Upload(safe_name(None, place), image_of(IMAGE, image)) for place, image in enumerate(images)]

    def count(self, sample: Upload) -> int:
        """Return 1."""
        return 1

    def name(self, sample: Upload) -> str:
        """Return the file's name."""
        return sample.name

    def read(self, sample: Upload, held: Held, preview: bool) -> Ready:
        """Decode one image."""
        planes = takes_planes(self._model.spec["data"])
        pixels = decoded(sample, self._model.spec["preprocess"], self._model.read, self._limits, held, planes)
        return Ready(pixels.shape, pixels, {"image": sample.name}, {"preview": preview_of(pixels)} if preview else {})

    def run(self, works: Sequence[Any], beside: Mapping[str, Any]) -> list[Row]:
        """Run images of one shape."""
        found = self._model.answer(np.stack(works), **beside)
        # Copies: a view would keep the whole batch's outputs for as long as its slowest neighbour.
        return [{name: np.array(values[row]) for name, values in found.items()} for row in range(len(works))]

    def joined(self, rows: Sequence[Row]) -> Row:
        """Stack the rows."""
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def tensors(self) -> list[Tensor]:
        """Return the graph's own inputs; one with a default is none of ONNX Runtime's own list."""
        taken = [metadata_of(given.name, given.type, given.shape) for given in self._model.takes]
        width = len(self._model.concepts)
        return [Tensor(*one) for one in taken] + [Tensor(name, "FP32", (-1, width)) for name in self._corrected]

    def described(self) -> dict[str, Any]:
        """Say whether they are volumes, or texts."""
        takes = "volumes" if self._model.dimensions == 3 else "images" if IMAGE in self._model.inputs else "texts"
        return {"takes": takes}

    def parts(self, files: Mapping[str, Any]) -> dict[str, Any]:
        """Return the one part."""
        return {IMAGE: files}

    def sample(self, file: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return None: they are sent as `images`."""
        return None


def check_pixels(name: str, images: Any, wanted: Any, dimensions: int) -> None:
    """Raise RefusedError (400) if a tensor is neither raw pixels of a type and number of sides nor strings."""
    if isinstance(images, np.ndarray) and (images.dtype != wanted or images.ndim != dimensions + 2):
        raise RefusedError(
            400, f"input {name!r} is no {type_name(wanted)} of {dimensions + 2} dimensions, nor BYTES of files"
        )  # fmt: skip
