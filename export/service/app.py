"""The service: routes around models, and how it begins and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.export.runtime.dicom_report import DicomReports
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.said import said_of
from medzoo.export.service import protocol
from medzoo.export.service.about import NOT_A_DEVICE, about
from medzoo.export.service.archive import Archive
from medzoo.export.service.asked import Asked, read_asked
from medzoo.export.service.dicomweb import answer_named, read_named
from medzoo.export.service.guard import Guard
from medzoo.export.service.limits import Limits, RefusedError, Room
from medzoo.export.service.measures import Measures
from medzoo.export.service.openapi import document
from medzoo.export.service.served import Answer, Served

PAGE = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css")}
PAGE |= {f"/{name}.js": (f"{name}.js", "text/javascript") for name in ("page", "answer", "sample")}
DRAIN = 0.05
"""Seconds between two looks whether the last request is answered."""


class Service:
    """Models behind one ASGI application.

    Args:
        models: Name → its file and the model opened from it; at least one that is no text tower.
        limits: What is taken at most.
        key: What requests must carry; None: nothing.
        hosts: Names by which it may be called; None: any.
        archive: Where `/dicomweb` fetches images; None: there is no such path.
        reports: Model → what makes the reports that are stored there; of one that is not named nothing is stored.

    Attributes:
        app: The application.
        models: Those that are no text towers, by name.

    Raises:
        ConfigError: If all are text towers, or one belongs to no file beside it.
    """

    def __init__(
        self,
        models: Mapping[str, tuple[Path, OnnxModel]],
        limits: Limits | None = None,
        *,
        key: str | None = None,
        hosts: Collection[str] | None = None,
        archive: Archive | None = None,
        reports: Mapping[str, DicomReports] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.measures = Measures()
        self._archive, self._reports = archive, reports or {}
        self._memory = memory = Room("bytes of memory", self.limits.memory)
        self._readers = ThreadPoolExecutor(self.limits.readers, thread_name_prefix="medzoo-read")
        self._all = {
            name: Served(name, path, model, self.limits, memory, self._readers, self.measures)
            for name, (path, model) in models.items()
        }
        self.models = {name: served for name, served in self._all.items() if not served.is_tower}
        if not self.models:
            raise ConfigError("no file takes images; a text tower is served beside a file with open classes (zeroshot_open.onnx)")
        _pair(list(self._all.values()))
        self._about = {
            name: about(name, served.path, served.model, served.kind, classes_by_text=served.text is not None)
            for name, served in self.models.items()
        }
        self._document = document(list(self._all.values()), self.limits, has_key=key is not None, archive=archive is not None)
        self._page = {path: files(__package__).joinpath("page").joinpath(name).read_bytes() for path, (name, _) in PAGE.items()}
        inner = Starlette(
            routes=self._routes(), lifespan=self._lifespan,
            exception_handlers={RefusedError: _refused, HTTPException: _no_route, Exception: _defect},
        )  # fmt: skip
        self.app = Guard(inner, self.limits, memory, self.measures, key, hosts)

    def _routes(self) -> list[Route]:
        model = "/v2/models/{name}"
        return [
            *(Route(path, self._static) for path in PAGE),
            Route("/healthz", _alive),
            Route("/readyz", self._ready),
            Route("/metrics", self._metrics),
            Route("/openapi.json", self._openapi),
            Route("/models", self._models),
            Route("/model", self._model),
            Route("/predict", self._predict, methods=["POST"]),
            *([] if self._archive is None else [Route("/dicomweb", self._dicomweb, methods=["POST"])]),
            Route("/v2", self._server),
            Route("/v2/health/live", _alive),
            Route("/v2/health/ready", self._ready),
            *(
                route
                for start in (model, f"{model}/versions/{{version}}")
                for route in (
                    Route(start, self._v2_model),
                    Route(f"{start}/ready", self._v2_ready),
                    Route(f"{start}/infer", self._v2_infer, methods=["POST"]),
                )
            ),
        ]

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        for served in self._all.values():
            served.batcher.start()
        yield
        self.app.open = False
        async with _at_most(self.limits.seconds):
            while self.app.room.taken:
                await asyncio.sleep(DRAIN)
        for served in self._all.values():
            await served.batcher.stop()
        self._readers.shutdown(wait=False, cancel_futures=True)
        if self._archive is not None:
            self._archive.close()

    async def _static(self, request: Request) -> Response:
        path = request.url.path
        return Response(self._page[path], media_type=PAGE[path][1])

    async def _ready(self, _request: Request) -> Response:
        if not self.app.open:
            raise RefusedError(503, "the service is going down")
        return JSONResponse({"ready": True})

    async def _metrics(self, _request: Request) -> Response:
        return Response(self.measures.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(self._document)

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"models": list(self.models)})

    async def _model(self, request: Request) -> Response:
        if unknown := sorted({*request.query_params} - {"model"}):
            raise RefusedError(422, f"unknown option {unknown[0][:100]!r}; known: model")
        return JSONResponse(self._about[self._chosen(request.query_params.get("model")).name])

    async def _predict(self, request: Request) -> Response:
        asked = await read_asked(request, self.limits)
        served = self._chosen(asked.model)
        labels, vectors = served.model.labels, None
        if asked.classes is not None:
            vectors = await served.vectors(asked.classes, asked.templates)
            labels = LabelSpace("multiclass", asked.classes)
        elif served.takes_classes:
            raise RefusedError(422, f'{served.name} is told its classes with each request: classes=["cyst", "tumour"]')
        if asked.map and "map" not in served.model.outputs:
            raise RefusedError(422, f"{served.name} has no map; export it with map=true")
        samples = served.kind.of_request(asked.given)
        corrections = served.corrections(len(samples), asked.concepts or None)
        served.check_region(asked.region)
        beside: dict[str, Any] = {"corrections": corrections, "vectors": vectors, "region": asked.region}
        answers = await served.answer(samples, **beside, preview=asked.preview)
        results = await asyncio.to_thread(lambda: [_said(answer, served, labels, asked) for answer in answers])
        return _answered(served, results)

    async def _dicomweb(self, request: Request) -> Response:
        assert self._archive is not None
        named = await asyncio.to_thread(read_named, await request.body())
        served = self._chosen(named.model)
        answer, stored = await answer_named(named, served, self._archive, self._reports.get(served.name), self._memory)
        return _answered(served, [_said(answer, served, served.model.labels, Asked({}))], stored=stored)

    def _chosen(self, name: str | None) -> Served:
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name is None:
            raise RefusedError(422, f"several models are served; say which: model={' | '.join(self.models)}")
        if name not in self.models:
            raise RefusedError(404, f"no model {name[:100]!r} is served; there are {', '.join(self.models)}")
        return self.models[name]

    async def _server(self, _request: Request) -> Response:
        return JSONResponse(protocol.server_metadata())

    async def _v2_model(self, request: Request) -> Response:
        return JSONResponse(protocol.model_metadata(self._v2_chosen(request)))

    async def _v2_ready(self, request: Request) -> Response:
        served = self._v2_chosen(request)
        return JSONResponse({"name": served.name, "ready": True})

    async def _v2_infer(self, request: Request) -> Response:
        return await protocol.infer(request, self._v2_chosen(request))

    def _v2_chosen(self, request: Request) -> Served:
        name, version = request.path_params["name"], request.path_params.get("version")
        if name not in self._all or version not in (None, *protocol.VERSIONS):
            raise RefusedError(
                404, f"no model {name[:100]!r} of that version is served; there are {', '.join(self._all)}, version 1"
            )
        return self._all[name]


def _pair(models: Sequence[Served]) -> None:
    """Give each file with open classes the text tower of its own weights; ConfigError where a tower belongs to none."""
    towers = [served for served in models if served.is_tower]
    for tower in towers:
        same = [one for one in models if (one.weights, one.model.spec) == (tower.weights, tower.model.spec)]
        belong = [served for served in same if served.takes_classes]
        if not belong:
            raise ConfigError(f"{tower.path} is the text tower of none of the files beside it; serve its zeroshot_open.onnx too")
        for served in belong:
            served.text = tower


def _said(answer: Answer, served: Served, labels: LabelSpace | None, asked: Asked) -> dict[str, Any]:
    own = labels is served.model.labels
    outputs = dict(answer.outputs)
    image_map = outputs.pop("map", None)
    said = said_of(outputs, labels, served.model.concepts, served.model.points if own else None, served.model.targets)
    if asked.map and image_map is not None:
        names = served.model.concepts or (labels.names if labels is not None else ())
        said["map"] = {name: rows.tolist() for name, rows in zip(names, image_map, strict=True)}
    return {**answer.named, **said, **answer.shown}


def _answered(served: Served, results: Sequence[Mapping[str, Any]], **more: Any) -> Response:
    told = {"model": served.name, "sha256": served.sha256, "notice": NOT_A_DEVICE, "results": results, **more}
    return Response(json.dumps(told, allow_nan=False), media_type="application/json")


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        pass


async def _alive(_request: Request) -> Response:
    return JSONResponse({"live": True})


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": str(error)}, error.status, error.headers)


async def _no_route(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "there is nothing here; /openapi.json says what there is" if error.status_code == 404 else str(error.detail)
    return JSONResponse({"error": said}, error.status_code, dict(error.headers or {}))


async def _defect(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "a defect of the service; its log has more"}, 500)
