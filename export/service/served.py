"""One file that is served: bytes to pixels in threads, pixels to answers in batches, and nothing beyond the limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medzoo.data.corrections import check_corrections
from medzoo.data.errors import ImageDependencyError, ImageError, MedzooError
from medzoo.data.images.frames import open_image
from medzoo.data.images.pixels import MAX_PIXELS
from medzoo.data.images.thumbnail import thumbnail
from medzoo.export.files.integrity import read_metadata
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.batcher import Batcher, Job
from medzoo.export.service.limits import SCALES_BY_BATCH, Held, Limits, RefusedError, Room, too_many
from medzoo.export.service.measures import Measures

PREVIEW_SIDE = 512
"""Pixels of the longer side of what is shown of an image."""
MOST_TEXTS, KNOWN = 512, 64
"""Texts of a request; sets of classes whose vectors are kept."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Pixels:
    """What one image gives to a batch: pixels as the graph takes them, its corrected concepts, the classes asked for."""

    pixels: NDArray[Any]
    corrections: Mapping[str, NDArray[np.float32]]
    vectors: NDArray[np.float32] | None

    @property
    def key(self) -> tuple[Any, ...]:
        """What those of one batch have in common."""
        return self.pixels.shape, bool(self.corrections), id(self.vectors)


@dataclass(frozen=True)
class Answer:
    """What came of one image.

    Attributes:
        image: What it is called.
        outputs: Output name → its row, as `OnnxModel.predict` names them.
        preview: A small PNG of the image as the model got it, in base64; None where nobody asked for it.
    """

    image: str
    outputs: Mapping[str, NDArray[Any]]
    preview: str | None


class Served:
    """A model of images, or a text tower, behind its queue.

    Args:
        name: What requests call it.
        path: A file written by `medzoo export`.
        model: The same, opened.
        limits: Of the service.
        memory: Shared by all models.
        readers: Threads that decode, shared by all models.
        measures: Of the service.

    Attributes:
        sha256: Of the file, as it says itself.
        weights: SHA-256 of the weights it was exported from; None where it does not say.
        room: Images of it that the service holds.
        text: The text tower of the same weights that is served beside it; None: there is none.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        model: OnnxModel,
        limits: Limits,
        memory: Room,
        readers: ThreadPoolExecutor,
        measures: Measures,
    ) -> None:
        self.name, self.path, self.model, self.limits = name, path, model, limits
        self.sha256, self.version = (read_metadata(path, f"medzoo.{key}") or "" for key in ("sha256", "version"))
        report = json.loads(read_metadata(path, "medzoo.report") or "{}")
        self.weights: str | None = report.get("weights")
        self.room = Room(f"places for images of {name}", limits.queue)
        self.text: Served | None = None
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], NDArray[np.float32]] = {}
        self._memory, self._readers, self._images = memory, readers, measures.images.labels(name)
        most = 1 if report.get("precision") == SCALES_BY_BATCH else limits.batch
        self.batcher = Batcher(
            self._run, batch=most, wait=limits.wait / 1000, queue=limits.queue,
            seen=measures.batches.labels(name).observe,
        )  # fmt: skip
        measures.waiting.labels(name).set_function(lambda: self.room.taken)
        measures.model.labels(name, self.sha256, self.version).set(1)

    @property
    def takes_images(self) -> bool:
        """Whether it is no text tower."""
        return "image" in self.model.inputs

    @property
    def takes_classes(self) -> bool:
        """Whether its classes are given with each request."""
        return "class_embeddings" in self.model.inputs

    async def answer(
        self,
        images: Sequence[tuple[str, bytes | NDArray[Any]]],
        *,
        corrections: Mapping[str, NDArray[np.float32]] | None = None,
        vectors: NDArray[np.float32] | None = None,
        preview: bool = False,
    ) -> list[Answer]:
        """Answer the images of a request, all or none.

        Args:
            images: Name and encoded bytes, or an array as `OnnxModel.predict` takes it.
            corrections: As `medzoo.data.corrections.check_corrections` returns them, one row an image.
            vectors: Of the classes that a file with open classes is asked for.
            preview: Also show what the model got.

        Raises:
            RefusedError: One line that names the first image at fault; or the service is full.
        """
        if len(images) > self.limits.images:
            raise too_many(len(images), self.limits.images)
        rows = corrections or {}
        with self.room.held(len(images)):
            work = [
                asyncio.create_task(self._one(name, given, {k: row[place] for k, row in rows.items()}, vectors, preview))
                for place, (name, given) in enumerate(images)
            ]
            try:
                answers = await asyncio.gather(*work)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
        self._images.inc(len(answers))
        return answers

    async def vectors(self, classes: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of classes by the text tower beside this file; those asked for lately are kept."""
        if self.text is None:
            raise RefusedError(
                422, f"{self.name} takes no classes" if not self.takes_classes else f"no text tower beside {self.name}"
            )
        key = tuple(classes), tuple(templates)
        if key not in self._known:
            prompts = {name: [template.replace("{}", name) for template in templates] for name in classes}
            found = await self.text.in_thread(lambda model: model.class_embeddings(prompts))
            while len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return self._known[key]

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, of a text tower."""
        if len(texts) > MOST_TEXTS:
            raise too_many(len(texts), MOST_TEXTS, "texts")
        found: NDArray[np.float32] = await self.in_thread(lambda model: model.embed_texts(texts))
        return found

    async def in_thread(self, work: Callable[[OnnxModel], Any]) -> Any:
        """Do work with the model between two batches; what is wrong with the request is refused (422), a full queue too (503)."""
        with self.room.held(1):
            try:
                return await self.batcher.in_thread(lambda: work(self.model))
            except MedzooError as error:
                raise RefusedError(422, str(error)) from None

    def corrections(self, count: int, values: Any, mask: Any = None) -> dict[str, NDArray[np.float32]]:
        """Return corrected concepts for so many images; RefusedError (422) if they do not fit the model."""
        try:
            return check_corrections(count, self.model.concepts, values, mask)
        except MedzooError as error:
            raise RefusedError(422, str(error)) from None

    async def _one(
        self, name: str, given: bytes | NDArray[Any], corrections: Mapping[str, Any], vectors: Any, preview: bool
    ) -> Answer:
        with self._memory.held() as held:
            pixels, shown = await asyncio.wrap_future(self._readers.submit(self._read, name, given, held, preview))
            image = Pixels(pixels, corrections, vectors)
            answer = self.batcher.put(image.key, image)
            del pixels, image
            try:
                outputs = await answer
            except RefusedError:
                raise
            except Exception as error:  # ONNX Runtime's errors have no common base
                raise RefusedError(422, f"{name}: the model cannot run it ({' '.join(str(error).split())[:200]})") from None
            finally:
                answer.cancel()
        numbers = (row for key, row in outputs.items() if key != "calls" and row.dtype.kind == "f")
        if not all(np.isfinite(row).all() for row in numbers):
            raise RefusedError(422, f"{name}: the model answers with values that are no numbers; is it an image of its kind?")
        return Answer(name, outputs, shown)

    def _read(self, name: str, given: bytes | NDArray[Any], held: Held, preview: bool) -> tuple[NDArray[Any], str | None]:
        """Return pixels as the graph takes them, and what is shown of them; in a thread."""
        return _told(name, given, partial(self._decode, name, given, held, preview))

    def _decode(self, name: str, given: bytes | NDArray[Any], held: Held, preview: bool) -> tuple[NDArray[Any], str | None]:
        wants = self.model.spec["preprocess"]
        each = int(wants["channels"]) * np.dtype(wants["dtype"]).itemsize
        flat = self.model.dimensions == 2
        count = self.limits.pixels if isinstance(given, bytes) else int(np.prod(given.shape[: self.model.dimensions]))
        if isinstance(given, bytes) and flat:
            opened = open_image(given, MAX_PIXELS)
            if opened.count > 1 and not opened.first_is_the_image:
                raise RefusedError(422, f"{name}: holds {opened.count} {opened.what}; send one of them as a file of its own")
            count = int(np.prod(opened.sides(0)))
        self._check_count(name, count)
        held.take(count * each)
        pixels = self.model.read(given)
        self._check_count(name, pixels.size // pixels.shape[-1])  # of a volume no header was asked
        return pixels, thumbnail(np.moveaxis(pixels, -1, 0), PREVIEW_SIDE) if preview else None

    def _check_count(self, name: str, count: int) -> None:
        if count > self.limits.pixels:
            raise RefusedError(
                413, f"{name}: {count:,} pixels are more than the {self.limits.pixels:,} that are taken; shrink it"
            )

    def _run(self, jobs: Sequence[Job]) -> list[dict[str, NDArray[Any]]]:
        given: list[Pixels] = [job.given for job in jobs]
        corrections = {key: np.stack([one.corrections[key] for one in given]) for key in given[0].corrections}
        pixels = np.stack([one.pixels for one in given])
        found = self.model.answer(pixels, class_embeddings=given[0].vectors, **corrections)
        # Copies: a view would keep the whole batch's outputs for as long as its slowest neighbour.
        return [{name: np.array(values[row]) for name, values in found.items()} for row in range(len(jobs))]


def _told(name: str, given: bytes | NDArray[Any], work: Callable[[], _T]) -> _T:
    """Do work on an image; what is wrong with it is said of it by name."""
    try:
        return work()
    except ImageDependencyError as error:
        raise RefusedError(415, _renamed(name, given, error)) from None
    except ImageError as error:
        raise RefusedError(422, _renamed(name, given, error)) from None


def _renamed(name: str, given: bytes | NDArray[Any], error: ImageError) -> str:
    said = str(error).replace(f"image bytes ({len(given)} bytes)", name)
    return said if name in said else f"{name}: {said}"
