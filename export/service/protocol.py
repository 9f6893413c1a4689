"""The open inference protocol (`/v2`), by which KServe's and Triton's clients ask: tensors by name, in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from medzoo.data.errors import MedzooError
from medzoo.export.runtime.inputs import check_class_embeddings
from medzoo.export.service.kinds.kind import Tensor
from medzoo.export.service.limits import RefusedError, refused
from medzoo.export.service.served import Served
from medzoo.export.service.tensors import LENGTH, Given, metadata_of, read_request, read_tensor, text_of, write_response

VERSIONS = ("1",)
"""A file is what it is: there is one version of it."""
TEXT, EMBEDDINGS = "text", "text_embedding"
"""What a text tower takes and gives here: strings, since the tokenizer is in its file."""
CALLS = "calls"


def server_metadata() -> dict[str, Any]:
    """Return what `/v2` answers."""
    return {"name": "medzoo", "version": version("medzoo"), "extensions": ["binary_tensor_data"]}


def model_metadata(served: Served) -> dict[str, Any]:
    """Return what `/v2/models/NAME` answers; -1 stands for any number."""
    if served.is_tower:
        inputs = [{"name": TEXT, "datatype": "BYTES", "shape": [-1]}]
        outputs = [{"name": EMBEDDINGS, "datatype": "FP32", "shape": [-1, -1]}]
    else:
        inputs = [_told(given) for given in served.kind.tensors()]
        outputs = [_told(Tensor(*metadata_of(found.name, found.type, found.shape))) for found in served.model.gives]
        if (points := served.model.points) is not None:
            outputs.append({"name": CALLS, "datatype": "FP32", "shape": [-1, len(points.rules), points.labels.width]})
    return {"name": served.name, "versions": list(VERSIONS), "platform": "medzoo_onnx", "inputs": inputs, "outputs": outputs}


async def infer(request: Request, served: Served) -> Response:
    """Answer `/v2/models/NAME/infer`."""
    body = await request.body()
    asked, inputs = await asyncio.to_thread(_read, body, request.headers.get(LENGTH))
    found = await (_texts(served, inputs) if served.is_tower else _samples(served, inputs))
    parameters = asked.get("parameters") or {}
    everything_raw = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    chosen = _chosen(asked.get("outputs"), found, everything_raw)
    told = {"model_name": served.name, "model_version": VERSIONS[0]}
    if isinstance(asked.get("id"), str):
        told["id"] = asked["id"]
    content, length = await asyncio.to_thread(write_response, told, chosen)
    if length is None:
        return Response(content, media_type="application/json")
    return Response(content, media_type="application/octet-stream", headers={LENGTH: str(length)})


def _read(body: bytes, header: str | None) -> tuple[dict[str, Any], dict[str, Given]]:
    asked, raw = read_request(body, header)
    listed, inputs, place = asked.get("inputs"), {}, 0
    if not isinstance(listed, list) or not listed:
        raise RefusedError(400, "inputs is no list of tensors")
    for entry in listed:
        name, values, place = read_tensor(entry, raw, place)
        if name in inputs:
            raise RefusedError(400, f"input {name!r} is given twice")
        inputs[name] = values
    if place != len(raw):
        raise RefusedError(400, f"{len(raw) - place} bytes behind the JSON belong to no input")
    return asked, inputs


async def _samples(served: Served, inputs: Mapping[str, Given]) -> dict[str, NDArray[Any]]:
    model = served.model
    taken = [given.name for given in served.kind.tensors()]
    if unknown := sorted({*inputs} - {*taken}):
        raise RefusedError(400, f"unknown input {unknown[0]!r}; {served.name} takes {', '.join(taken)}")
    samples = served.kind.of_tensors(inputs)
    corrections = served.corrections(len(samples), inputs.get("concept_values"), inputs.get("concept_mask"))
    vectors = inputs.get("class_embeddings")
    if served.takes_classes:
        if not isinstance(vectors, np.ndarray):
            raise RefusedError(400, "input 'class_embeddings' is missing")
        width = next(given.shape[1] for given in model.takes if given.name == "class_embeddings")
        try:
            vectors = check_class_embeddings(vectors, width)
        except MedzooError as error:
            raise refused(error) from None
    answers = await served.answer(samples, corrections=corrections, vectors=vectors if served.takes_classes else None)  # type: ignore[arg-type]
    return served.kind.joined([dict(answer.outputs) for answer in answers])


async def _texts(served: Served, inputs: Mapping[str, Given]) -> dict[str, NDArray[Any]]:
    texts = inputs.get(TEXT)
    if {*inputs} != {TEXT} or not isinstance(texts, list):
        raise RefusedError(400, f"{served.name} takes one input, {TEXT!r} of BYTES in UTF-8")
    words = [text_of(TEXT, text) for text in texts]
    return {EMBEDDINGS: await served.embed(words)}


def _chosen(asked: Any, found: Mapping[str, NDArray[Any]], raw: bool) -> Sequence[tuple[str, NDArray[Any], bool]]:
    if asked is None or asked == []:
        return [(name, values, raw) for name, values in found.items()]
    if not isinstance(asked, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in asked):
        raise RefusedError(400, "outputs is no list of objects with a name")
    chosen = []
    if len({one["name"] for one in asked}) < len(asked):
        raise RefusedError(400, "an output is asked for twice")
    for one in asked:
        if one["name"] not in found:
            raise RefusedError(400, f"unknown output {one['name'][:100]!r}; there are {', '.join(found)}")
        parameters = one.get("parameters") or {}
        said = parameters.get("binary_data") if isinstance(parameters, dict) else None
        chosen.append((one["name"], found[one["name"]], raw if said is None else said is True))
    return chosen


def _told(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
