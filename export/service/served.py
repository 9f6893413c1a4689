"""One file that is served: bytes to pixels in threads, pixels to answers in batches, and nothing beyond the limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.corrections import check_corrections
from medzoo.data.errors import MedzooError
from medzoo.data.regions.evidence import check_regions
from medzoo.export.files.integrity import read_metadata
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.batcher import Batcher, Job
from medzoo.export.service.kinds.bags import Bags
from medzoo.export.service.kinds.images import Images
from medzoo.export.service.kinds.kind import Kind, Row
from medzoo.export.service.kinds.samples import Samples
from medzoo.export.service.limits import SCALES_BY_BATCH, Limits, RefusedError, Room, refused, too_many
from medzoo.export.service.measures import Measures

MOST_TEXTS, KNOWN = 512, 64
"""Texts of a request; sets of classes whose vectors are kept."""


@dataclass(frozen=True)
class Answer:
    """What came of one sample.

    Attributes:
        named: JSON-ready: what it is called.
        outputs: Output name → its row, as `OnnxModel.predict` names them.
        shown: JSON-ready: small PNGs, in base64, of images as the model got them; empty where nobody asked.
    """

    named: Mapping[str, Any]
    outputs: Mapping[str, NDArray[Any]]
    shown: Mapping[str, Any]


def kind_of(model: OnnxModel, limits: Limits) -> Kind:
    """Return what a sample of a model is."""
    if model.modalities is not None:
        return Samples(model, limits)
    return Bags(model, limits) if model.takes_bags else Images(model, limits)


class Served:
    """A model, or a text tower, behind its queue.

    Args:
        name: What requests call it.
        path: A file written by `medzoo export`.
        model: The same, opened.
        limits: Of the service.
        memory: Shared by all models.
        readers: Threads that decode, shared by all models.
        measures: Of the service.

    Attributes:
        kind: What a sample of it is.
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
        self.kind = kind_of(model, limits)
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
    def is_tower(self) -> bool:
        """Whether it is a text tower."""
        return "tokens" in self.model.inputs

    @property
    def takes_classes(self) -> bool:
        """Whether its classes are given with each request."""
        return "class_embeddings" in self.model.inputs

    async def answer(
        self,
        samples: Sequence[Any],
        *,
        corrections: Mapping[str, NDArray[np.float32]] | None = None,
        vectors: NDArray[np.float32] | None = None,
        region: Mapping[str, Any] | None = None,
        preview: bool = False,
    ) -> list[Answer]:
        """Answer the samples of a request, all or none.

        Args:
            samples: As `kind` made them of the request.
            corrections: As `medzoo.data.corrections.check_corrections` returns them, one row a sample.
            vectors: Of the classes that a file with open classes is asked for.
            region: What concepts lose of each image, or keep; None: they look everywhere.
            preview: Also show what the model got.

        Raises:
            RefusedError: One line that names the first image at fault; or the service is full.
        """
        count = sum(map(self.kind.count, samples))
        if count > self.limits.images:
            raise too_many(count, self.limits.images)
        rows, every = corrections or {}, {"class_embeddings": vectors} if vectors is not None else {}
        with self.room.held(count):
            work = [
                asyncio.create_task(self._one(sample, {k: row[place] for k, row in rows.items()}, every, region, preview))
                for place, sample in enumerate(samples)
            ]
            try:
                answers = await asyncio.gather(*work)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
        self._images.inc(count)
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
                raise refused(error) from None

    def check_region(self, region: Mapping[str, Any] | None) -> None:
        """Raise RefusedError (422) if a region does not fit the model."""
        try:
            check_regions(1, self.model.concepts, region)
        except MedzooError as error:
            raise refused(error) from None

    def corrections(self, count: int, values: Any, mask: Any = None) -> dict[str, NDArray[np.float32]]:
        """Return corrected concepts for so many images; RefusedError (422) if they do not fit the model."""
        try:
            return check_corrections(count, self.model.concepts, values, mask)
        except MedzooError as error:
            raise refused(error) from None

    async def _one(
        self, sample: Any, corrections: Mapping[str, Any], every: Mapping[str, Any], region: Any, preview: bool
    ) -> Answer:  # fmt: skip
        name = self.kind.name(sample)
        with self._memory.held() as held:
            ready = await asyncio.wrap_future(self._readers.submit(self.kind.read, sample, held, preview))
            named, shown = ready.named, ready.shown
            key = (ready.key, bool(corrections), region is None, *map(id, every.values()))
            answer = self.batcher.put(key, (ready.work, corrections, every, region))
            del ready, sample
            try:
                outputs = await answer
            except RefusedError:
                raise
            except MedzooError as error:  # what was given beside it does not fit
                raise refused(MedzooError(f"{name}: {error}")) from None
            except Exception as error:  # ONNX Runtime's errors have no common base
                raise RefusedError(422, f"{name}: the model cannot run it ({' '.join(str(error).split())[:200]})") from None
            finally:
                answer.cancel()
        numbers = (row for key, row in outputs.items() if key != "calls" and row.dtype.kind == "f")
        if not all(np.isfinite(row).all() for row in numbers):
            raise RefusedError(422, f"{name}: the model answers with values that are no numbers; is it an image of its kind?")
        return Answer(named, outputs, shown)

    def _run(self, jobs: Sequence[Job]) -> list[Row]:
        works, corrections, every, regions = zip(*(job.given for job in jobs), strict=True)
        beside = {key: np.stack([own[key] for own in corrections]) for key in corrections[0]} | every[0]
        return self.kind.run(works, beside if regions[0] is None else {**beside, "regions": list(regions)})
