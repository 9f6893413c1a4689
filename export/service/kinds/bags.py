"""Samples that are bags: all images of a request are one case, or files of feature rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from medzoo.data.errors import MedzooError
from medzoo.data.images.given import with_views
from medzoo.data.images.planes.stack import takes_planes
from medzoo.data.images.rows import case_rows
from medzoo.data.strict_json import strict_json
from medzoo.export.runtime.bags import COUNTS, ROWS, VIEWS
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.kinds.decode import decoded, preview_of
from medzoo.export.service.kinds.images import check_pixels, uploads_of
from medzoo.export.service.kinds.kind import Ready, Row, Tensor
from medzoo.export.service.limits import Held, Limits, RefusedError, refused, too_many
from medzoo.export.service.sent import IMAGE, LONGEST_NAME, Upload
from medzoo.export.service.tensors import image_of, metadata_of

ATTENTION = "attention"


@dataclass(frozen=True)
class Case:
    """One bag, unread.

    Attributes:
        files: Its members; of feature rows files of them, or arrays (n, F).
        views: What each shows, by word, None where nobody says; None: nobody says it of any.
    """

    files: tuple[Upload, ...]
    views: tuple[str | None, ...] | None = None


class Bags:
    """Bags of one model, as `medzoo.export.service.kinds.kind.Kind` says.

    Args:
        model: Which takes bags.
        limits: Of the service; a batch has as many members as `batch` says, and one larger bag alone.
    """

    def __init__(self, model: OnnxModel, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._width = next((int(given.shape[1]) for given in model.takes if given.name == ROWS), None)
        self._part = IMAGE if self._width is None else ROWS

    def of_request(self, given: Mapping[str, Any]) -> list[Case]:
        """Return the one case of a request; of feature rows a file may also come as the body, or as `image`."""
        if self._part == ROWS and [*given] == [IMAGE]:
            given = {ROWS: given[IMAGE]}
        files = uploads_of(given, self._part, (VIEWS,) if self._model.shown else ())
        return [Case(tuple(files), self._views(given.get(VIEWS)))]

    def of_tensors(self, inputs: Mapping[str, Any]) -> list[Case]:
        """Return the bags of tensors: members of all in one, and how many each has."""
        members, counts, codes = (inputs.get(name) for name in (self._part, COUNTS, VIEWS))
        if members is None or counts is None:
            raise RefusedError(400, f"input {COUNTS if members is not None else self._part!r} is missing")
        for count, what in ((len(counts), "bags"), (len(members) if self._width is None else 1, "images")):
            if count > self._limits.images:
                raise too_many(count, self._limits.images, what)
        if self._width is None:
            check_pixels(IMAGE, members, np.dtype(self._model.spec["preprocess"]["dtype"]), self._model.dimensions)
        elif not isinstance(members, np.ndarray) or members.dtype != np.float32 or members.ndim != 2:
            raise RefusedError(400, f"input {ROWS!r} is no FP32 of shape [members, {self._width}]")
        wrong = not isinstance(counts, np.ndarray) or counts.dtype != np.int64 or counts.ndim != 1 or counts.min() < 1
        # Compared before they are added: a sum of 64 bits can come out right by overflow.
        if wrong or counts.max() > len(members) or len(counts) > len(members) or counts.sum() != len(members):
            raise RefusedError(400, f"input {COUNTS!r} is no INT64 of members a bag, at least 1 each and {len(members)} in all")
        words = None if codes is None else self._words(codes, len(members))
        ends = np.cumsum(counts).tolist()
        return [
            Case(self._uploads(members, start, end), None if words is None else tuple(words[start:end]))
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def count(self, sample: Case) -> int:
        """Return how many images, or files of rows, it has."""
        return len(sample.files)

    def name(self, sample: Case) -> str:
        """Return that it is the case: a request holds one."""
        return "the case"

    def read(self, sample: Case, held: Held, preview: bool) -> Ready:
        """Decode all members of a case."""
        names = [upload.name for upload in sample.files]
        views = {} if sample.views is None else {VIEWS: sample.views}
        try:
            if self._width is not None:
                rows = case_rows([self._rows(upload, held) for upload in sample.files], self._width, 0)
                with_views([{"images": rows, **views}], self._model.shown)
                return Ready(rows.shape[1:], {"images": rows, **views}, {ROWS: names})
            with_views([{"images": sample.files, **views}], self._model.shown)  # a word that is none is said before decoding
            wants = self._model.spec["preprocess"]
            planes = takes_planes(self._model.spec["data"])
            pixels = [decoded(upload, wants, self._model.read, self._limits, held, planes) for upload in sample.files]
        except MedzooError as error:
            raise refused(error) from None
        shapes = {image.shape for image in pixels}
        if len(shapes) > 1:
            sizes = " and ".join(sorted("x".join(map(str, shape[:-1])) for shape in shapes)[:2])
            raise RefusedError(422, f"the images of a case are of {sizes} pixels, and it is one array: make them of one size")
        shown = {"previews": [preview_of(image) for image in pixels]} if preview else {}
        return Ready(pixels[0].shape, {"images": pixels, **views}, {"images": names}, shown)

    def run(self, works: Sequence[Any], beside: Mapping[str, Any]) -> list[Row]:
        """Run cases whose members are of one shape."""
        given = [work if self._model.shown else work["images"] for work in works]
        found = self._model.answer_bags(given, self._limits.batch)
        rows = [{name: np.array(values[row]) for name, values in found.items()} for row in range(len(works))]
        for row, work in zip(rows, works, strict=True):
            if ATTENTION in row:  # NaN stands behind the last member of a smaller bag
                row[ATTENTION] = row[ATTENTION][: len(work["images"])]
        return rows

    def joined(self, rows: Sequence[Row]) -> Row:
        """Stack the rows; weights of members stand bag after bag."""
        return {
            name: (np.concatenate if name == ATTENTION else np.stack)([row[name] for row in rows]) for name in rows[0]
        }  # fmt: skip

    def tensors(self) -> list[Tensor]:
        """Return the graph's own inputs."""
        return [Tensor(*metadata_of(given.name, given.type, given.shape)) for given in self._model.takes]

    def described(self) -> dict[str, Any]:
        """Say what members are, what they may show, and whether they are weighed."""
        of = "rows" if self._width is not None else "volumes" if self._model.dimensions == 3 else "images"
        width = {} if self._width is None else {"width": self._width}
        about = {"part": self._part, "of": of, **width, "views": list(self._model.shown)}
        return {"takes": "bags", "bag": {**about, ATTENTION: ATTENTION in self._model.outputs}}

    def parts(self, files: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of members, and JSON text of what they show."""
        words = {"type": "string", "contentMediaType": "application/json", "description": self._views_in_words()}
        return {self._part: files, **({VIEWS: words} if self._model.shown else {})}

    def sample(self, file: Mapping[str, Any]) -> dict[str, Any]:
        """Return the object of members and what they show."""
        files = {"type": "array", "items": file, "minItems": 1, "maxItems": self._limits.images}
        about: dict[str, Any] = {self._part: {"anyOf": [file, files]}}
        if self._model.shown:
            word = {"type": ["string", "null"], "maxLength": LONGEST_NAME}
            about[VIEWS] = {
                "type": ["array", "null"], "items": word, "minItems": 1, "description": self._views_in_words()
            }  # fmt: skip
        return {"type": "object", "properties": about, "required": [self._part], "additionalProperties": False}

    def _views_in_words(self) -> str:
        return f"what each member shows, in their order: {' | '.join(self._model.shown)}, or null"

    def _views(self, value: Any) -> tuple[str | None, ...] | None:
        if isinstance(value, str):
            try:
                value = strict_json(value)
            except ValueError as error:
                raise RefusedError(
                    422, f'{VIEWS} is no JSON, such as ["{self._model.shown[0]}", null] ({str(error)[:150]})'
                ) from None
        if value is None:
            return None
        words = value if isinstance(value, list) else [0]
        if not all(word is None or (isinstance(word, str) and len(word) <= LONGEST_NAME) for word in words):
            raise RefusedError(422, f"{VIEWS} is no list of words, null where nobody says")
        return tuple(value)

    def _words(self, codes: Any, count: int) -> list[str | None]:
        known = self._model.shown
        if not isinstance(codes, np.ndarray) or codes.dtype != np.int64 or codes.shape != (count,):
            raise RefusedError(400, f"input {VIEWS!r} is no INT64 of shape [{count}]")
        if codes.min() < 0 or codes.max() > len(known):
            raise RefusedError(422, f"input {VIEWS!r} holds the place of none of its words (1 to {len(known)}; 0: nobody says)")
        return [None if code == 0 else known[code - 1] for code in codes.tolist()]

    def _uploads(self, members: Any, start: int, end: int) -> tuple[Upload, ...]:
        if self._width is not None:
            return (Upload(f"rows {start}", members[start:end]),)
        return tuple(Upload(f"image {place}", image_of(self._part, members[place])) for place in range(start, end))

    def _rows(self, upload: Upload, held: Held) -> NDArray[Any]:
        """Return the rows of a file of NumPy's format, whose header is believed only as far as its bytes go."""
        name, data = upload.name, upload.data
        if not isinstance(data, bytes):
            return np.asarray(data)
        try:
            file = BytesIO(data)
            shape, turned, dtype = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)](
                file
            )
            if dtype.kind not in "fiu" or turned or len(shape) != 2:
                raise RefusedError(422, f"{name}: is not rows of numbers (members, features), each after the other")
            values = np.frombuffer(data, dtype, offset=file.tell())
            held.take(values.size * 4)
            return values.reshape(shape)
        except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
            said = " ".join(str(error).split())[:100]
            raise RefusedError(422, f"{name}: is no .npy file of feature rows ({said})") from None
