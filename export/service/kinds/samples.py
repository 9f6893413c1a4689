"""Samples of several modalities: images, texts and values by name, any of them missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import MedzooError, UnknownNameError
from medzoo.data.images.given import INPUTS, GivenSample, Modalities
from medzoo.data.images.planes.stack import takes_planes
from medzoo.data.inputs import InputSpace
from medzoo.data.strict_json import strict_json
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.kinds.decode import decoded, preview_of
from medzoo.export.service.kinds.images import check_pixels
from medzoo.export.service.kinds.kind import Ready, Row, Tensor
from medzoo.export.service.limits import Held, Limits, RefusedError, refused, too_many
from medzoo.export.service.sent import IMAGE, LONGEST_FIELD, LONGEST_NAME, Upload
from medzoo.export.service.tensors import image_of, type_name

LONGEST_WORD = 200
"""Characters of a value that is a word."""
MASK = "_mask"


class Samples:
    """Samples of one model, as `medzoo.export.service.kinds.kind.Kind` says: each is what a request gives of it, by name.

    Args:
        model: Which takes several modalities.
        limits: Of the service.
    """

    def __init__(self, model: OnnxModel, limits: Limits) -> None:
        assert model.modalities is not None
        self._model, self._limits = model, limits
        self._takes: Modalities = model.modalities
        self._known = [*self._takes.names, *self._takes.texts, *([INPUTS] if self._takes.inputs is not None else [])]

    def of_request(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the one sample of a request. Where no modality is called `image`, that is the first, as in the graph."""
        sample, first = {}, self._takes.names[0]
        for name, value in given.items():
            own = first if name == IMAGE and IMAGE not in self._known else name
            if own not in self._known and own not in self._takes.shown:
                raise refused(UnknownNameError("part", own[:LONGEST_NAME], self._known))
            if own in sample:
                raise RefusedError(422, f"{own} is given twice, by its name and as {IMAGE}")
            sample[own] = self._value(own, value)
        return [sample]

    def of_tensors(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a sample for each row of the tensors: raw pixels or files, texts, values; and whether each is there."""
        if not inputs:
            raise RefusedError(400, "no input is given")
        sizes = {name: len(values) for name, values in inputs.items()}
        count = next(iter(sizes.values()))
        if other := next((name for name, size in sizes.items() if size != count), None):
            raise RefusedError(400, f"input {other!r} has {sizes[other]} rows, and the first {count}")
        if count > self._limits.images:
            raise too_many(count, self._limits.images, "samples")
        there = {view: self._mask(f"{view}{MASK}", inputs.get(f"{view}{MASK}"), count) for view in self._views()}
        samples: list[dict[str, Any]] = [{} for _ in range(count)]
        for view, modality in self._takes.shown.items():
            values = inputs.get(self._tensor(view))
            if values is None:
                continue
            wants = self._takes.preprocess[modality]
            check_pixels(self._tensor(view), values, np.dtype(wants["dtype"]), len(wants["size"]))
            for row in np.flatnonzero(there[view]):
                samples[row][view] = [Upload(f"{view} {row}", image_of(self._tensor(view), values[row]))]
        for name in self._takes.texts:
            if name not in inputs:
                continue
            if not isinstance(inputs[name], list):
                raise RefusedError(400, f"input {name!r} is no BYTES of texts in UTF-8")
            for row in np.flatnonzero(there[name]):
                samples[row][name] = _text(name, inputs[name][row])
        if INPUTS in inputs:
            for sample, values in zip(samples, self._rows(inputs[INPUTS]), strict=True):
                sample[INPUTS] = values
        return samples

    def count(self, sample: Mapping[str, Any]) -> int:
        """Return how many images it has."""
        return max(1, sum(len(value) for value in sample.values() if isinstance(value, list)))

    def name(self, sample: Mapping[str, Any]) -> str:
        """Return that it is the sample: a request holds one."""
        return "the sample"

    def read(self, sample: Mapping[str, Any], held: Held, preview: bool) -> Ready:
        """Decode its images, make tokens of its texts and a row of its values."""
        previews: dict[str, list[str]] = {}

        def pixels(name: str, upload: Upload) -> NDArray[Any]:
            own = Upload(f"{name}: {upload.name}", upload.data)
            read, planes = partial(self._takes.pixels, name), takes_planes(self._takes.reading.get(name, {}))
            found = decoded(own, self._takes.preprocess[name], read, self._limits, held, planes)
            if preview:
                previews.setdefault(name, []).append(preview_of(found))
            return found

        plain = {name: value[0] if self._single(name, value) else value for name, value in sample.items()}
        try:
            found = self._takes.read(plain, pixels)
        except MedzooError as error:
            raise refused(error) from None
        key = tuple(image.shape for image in found.images.values())
        return Ready(key, found, self._said(sample, found), {"previews": previews} if preview else {})

    def run(self, works: Sequence[GivenSample], beside: Mapping[str, Any]) -> list[Row]:
        """Run samples whose images are of the same shapes, whichever is missing of each: the graph has masks."""
        found = self._model.answer_samples(works)
        return [{name: np.array(values[row]) for name, values in found.items()} for row in range(len(works))]

    def joined(self, rows: Sequence[Row]) -> Row:
        """Stack the rows."""
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def tensors(self) -> list[Tensor]:
        """Return the graph's inputs, but texts as strings: the tokenizers are in the file. All may be left out."""
        found = []
        for view, modality in self._takes.shown.items():
            wants = self._takes.preprocess[modality]
            shape = (-1, *(-1 for _ in wants["size"]), int(wants["channels"]))
            found.append(Tensor(self._tensor(view), type_name(wants["dtype"]), shape))
        found += [Tensor(name, "BYTES", (-1,)) for name in self._takes.texts]
        found += [Tensor(f"{name}{MASK}", "FP32", (-1, 1)) for name in self._views()]
        return found + ([] if self._takes.inputs is None else [Tensor(INPUTS, "FP32", (-1, self._takes.inputs.width))])

    def described(self) -> dict[str, Any]:
        """Name the modalities, how many views each has, and what the values may be."""
        space = self._takes.inputs
        images = {
            name: {
                "takes": "volumes" if len(wants["size"]) == 3 else "images", "views": self._takes.views.get(name, 1),
                "size": wants["size"], "channels": wants["channels"],
            }
            for name, wants in self._takes.preprocess.items()
        }  # fmt: skip
        values = None if space is None else {name: list(space.categories.get(name, ())) or "number" for name in space.names}
        return {"takes": "samples", "modalities": {"images": images, "texts": [*self._takes.texts], "inputs": values}}

    def parts(self, files: Mapping[str, Any]) -> dict[str, Any]:
        """Return a part for each modality; values are JSON text."""
        about = {name: {**files, "maxItems": self._takes.views.get(name, 1)} for name in self._takes.names}
        about |= {name: {"type": "string", "maxLength": LONGEST_FIELD // 4} for name in self._takes.texts}
        values = {"type": "string", "contentMediaType": "application/json", "description": self._values_in_words()}
        return about | ({} if self._takes.inputs is None else {INPUTS: values})

    def sample(self, file: Mapping[str, Any]) -> dict[str, Any]:
        """Return the object of modalities; what is left out, or null, is missing."""
        about: dict[str, Any] = {}
        for name in self._takes.names:
            several = {"type": "array", "items": file, "minItems": 1, "maxItems": self._takes.views.get(name, 1)}
            about[name] = {"anyOf": [file, several, {"type": "null"}]}
        for name in self._takes.texts:
            about[name] = {"type": ["string", "null"], "maxLength": LONGEST_FIELD}
        if self._takes.inputs is not None:
            space = self._takes.inputs
            values = {
                name: {
                    "type": ["number", "string", *(["boolean"] if _has_booleans(space, name) else []), "null"],
                    "maxLength": LONGEST_WORD,
                }
                for name in space.names
            }
            about[INPUTS] = {
                "type": ["object", "null"], "properties": values, "additionalProperties": False,
                "description": self._values_in_words(),
            }  # fmt: skip
        return {"type": "object", "properties": about, "additionalProperties": False}

    def _views(self) -> list[str]:
        return [*self._takes.shown, *self._takes.texts]

    def _tensor(self, view: str) -> str:
        return IMAGE if view == self._takes.names[0] else view

    def _single(self, name: str, value: Any) -> bool:
        """Whether a list holds the one image that a name stands for."""
        return isinstance(value, list) and len(value) == 1 and name in self._takes.shown

    def _value(self, name: str, value: Any) -> Any:
        """Return what a request gives of a name, of the right type."""
        if name in self._takes.shown:
            if not isinstance(value, list) or not all(isinstance(one, Upload) for one in value):
                raise RefusedError(422, f"{name} is an image: send it as a file")
            most = self._takes.views.get(name, 1)
            if len(value) > most:
                raise RefusedError(422, f"{name} has {len(value)} images, and the model takes up to {most}")
            return value
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Upload):
            value = _text(name, value[0].data)  # a file that holds it
        if name != INPUTS:
            return _checked_text(name, value)
        assert self._takes.inputs is not None  # or the name were no part of the model's
        return _values(value, self._takes.inputs)

    def _said(self, sample: Mapping[str, Any], found: GivenSample) -> dict[str, Any]:
        """Name what was given, and what was not."""
        images = {name: [one.name for one in value] for name, value in sample.items() if isinstance(value, list)}
        texts = [name for name in self._takes.texts if name in found.there]
        space = self._takes.inputs
        named = [] if space is None or found.values is None else list(zip(space.names, ~np.isnan(found.values), strict=True))
        missing = [name for name in (*self._takes.names, *self._takes.texts) if name not in found.there]
        return {
            "given": {"images": images, "texts": texts, INPUTS: [name for name, there in named if there]},
            "missing": [*missing, *(f"{INPUTS}.{name}" for name, there in named if not there)],
        }

    def _mask(self, name: str, values: Any, count: int) -> NDArray[np.bool_]:
        if values is None:
            return np.ones(count, bool)
        if not isinstance(values, np.ndarray) or values.shape not in ((count,), (count, 1)) or not np.isin(values, (0, 1)).all():
            raise RefusedError(
                400, f"input {name!r} is no FP32 of shape [{count}, 1] that is 1 where it is there and 0 elsewhere"
            )
        there: NDArray[np.bool_] = values.reshape(count) == 1
        return there

    def _rows(self, values: Any) -> list[dict[str, Any]]:
        """Return values by name and word of rows of the graph's input."""
        space = self._takes.inputs
        assert space is not None
        if not isinstance(values, np.ndarray) or values.dtype != np.float32 or values.shape[1:] != (space.width,):
            raise RefusedError(400, f"input {INPUTS!r} is no FP32 of shape [rows, {space.width}], NaN where missing")
        rows = []
        for row in values:
            told: dict[str, float | str] = {
                name: float(value) for name, value in zip(space.names, row, strict=True) if not np.isnan(value)
            }
            for name in told.keys() & space.categories.keys():
                words, code = space.categories[name], float(told[name])
                if code not in range(len(words)):
                    raise RefusedError(422, f"input {name!r} is {code:g}, the place of none of its words (0 to {len(words) - 1})")
                told[name] = words[int(code)]
            rows.append(told)
        return rows

    def _values_in_words(self) -> str:
        space = self._takes.inputs
        assert space is not None
        words = [f"{name}: {' | '.join(space.categories.get(name, ())) or 'a number'}" for name in space.names]
        return f"values by name; {'; '.join(words)}"


def _has_booleans(space: InputSpace, name: str) -> bool:
    """Whether a value of JSON's true and false is among an input's words, as tables write them: True and False."""
    return any(str(one) in space.categories.get(name, ()) for one in (True, False))


def _values(value: Any, space: InputSpace) -> Any:
    """Return values by name, of which none is so long that a refusal could not repeat it, nor true for a number."""
    if isinstance(value, str):
        try:
            value = strict_json(value)
        except ValueError as error:
            raise RefusedError(422, f'{INPUTS} is no JSON, such as {{"age": 61}} ({str(error)[:150]})') from None
    if not isinstance(value, dict):
        raise RefusedError(422, f'{INPUTS} is no object of values by name, such as {{"age": 61}}')
    for name, one in value.items():
        if len(name) > LONGEST_NAME or (isinstance(one, str) and len(one) > LONGEST_WORD) or isinstance(one, list | dict):
            raise RefusedError(422, f"{INPUTS}.{name[:LONGEST_NAME]} is no number and no word")
        if isinstance(one, bool) and name in space.names and str(one) not in space.categories.get(name, ()):
            remedy = "one of its words, as text" if name in space.categories else "a number, such as 1 or 0"
            raise RefusedError(422, f"{INPUTS}.{name[:LONGEST_NAME]} is {str(one).lower()}; give {remedy}")
    return value


def _text(name: str, data: bytes | str) -> str:
    try:
        return _checked_text(name, data if isinstance(data, str) else data.decode("utf-8"))
    except UnicodeDecodeError:
        raise RefusedError(422, f"{name} is not text in UTF-8") from None


def _checked_text(name: str, value: Any) -> str:
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RefusedError(422, f"{name} is no text")
    if len(value) > LONGEST_FIELD:
        raise RefusedError(413, f"{name} has {len(value):,} characters, more than the {LONGEST_FIELD:,} that are taken")
    return value
