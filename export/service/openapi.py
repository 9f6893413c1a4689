"""The service's own description, OpenAPI 3.1: what programs are written by, and what a fuzzer drives it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from medzoo.export.service.about import NOT_A_DEVICE
from medzoo.export.service.asked import LONGEST_TEXT, MOST_CLASSES
from medzoo.export.service.dicomweb import KEYS, LONGEST_UID
from medzoo.export.service.limits import Limits
from medzoo.export.service.sent import FORM, IMAGE, IMAGES, JSON, RAW, SAMPLE
from medzoo.export.service.served import Served
from medzoo.export.service.tensors import LENGTH, MOST_DIMENSIONS, TYPES

_ERRORS = {
    "400": "not of the form that is taken",
    "401": "the key is missing or wrong",
    "404": "no such model",
    "408": "the request came too slowly",
    "413": "too many bytes, images or pixels",
    "415": "not a type of content that is taken",
    "421": "the service is called by another name",
    "422": "an image or an option that cannot be used",
    "502": "the archive answers with something else, or cannot be reached",
    "503": "busy, or going down: try again after Retry-After seconds",
    "504": "the answer took too long",
}
_ALWAYS = ("401", "408", "413", "415", "421", "503", "504")


def document(models: Sequence[Served], limits: Limits, *, has_key: bool, archive: bool = False) -> dict[str, Any]:
    """Return the document of a service.

    Args:
        models: What it serves, text towers among it.
        limits: What it takes at most.
        has_key: Whether requests must carry a key.
        archive: Whether images are fetched by DICOMweb, too.
    """
    asked = [served for served in models if not served.is_tower]
    images = [served.name for served in asked]
    chosen = {"name": "model", "in": "query", "required": len(images) > 1, "schema": {"enum": images}}
    named = {"name": "name", "in": "path", "required": True, "schema": {"enum": [served.name for served in models]}}
    versioned = {"name": "version", "in": "path", "required": True, "schema": {"const": "1"}}
    paths: dict[str, Any] = {
        "/predict": {"post": _predict(asked, limits)},
        "/model": {"get": _get("What a model is: card, labels, preprocessing, proof, limits", _ANY, [chosen], ("404", "422"))},
        "/models": {"get": _get("Names of the models that are asked", _names(images))},
        "/healthz": {"get": _get("The process is alive", {"type": "object", "required": ["live"]})},
        "/readyz": {"get": _get("Requests are taken", {"type": "object", "required": ["ready"]})},
        "/v2": {
            "get": _get("Open inference protocol: the server", {"type": "object", "required": ["name", "version", "extensions"]})
        },
        "/v2/health/live": {"get": _get("The process is alive", _ANY)},
        "/v2/health/ready": {"get": _get("Requests are taken", _ANY)},
    }
    for start, parameters in (("/v2/models/{name}", [named]), ("/v2/models/{name}/versions/{version}", [named, versioned])):
        paths[start] = {"get": _get("Open inference protocol: a model's tensors", _METADATA, parameters, ("404",))}
        paths[f"{start}/ready"] = {"get": _get("The model answers", _ANY, parameters, ("404",))}
        paths[f"{start}/infer"] = {"post": _infer(parameters)}
    if archive:
        paths["/dicomweb"] = {"post": _dicomweb(images)}
    metrics = _get("Counts for Prometheus", {"type": "string"})
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    paths["/metrics"] = {"get": metrics}
    told: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "medzoo serve", "version": version("medzoo"), "description": NOT_A_DEVICE},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}},
    }
    if has_key:
        told["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"key": []}]
    return told


_ANY: Mapping[str, Any] = {"type": "object"}
_ERROR: Mapping[str, Any] = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_NAMED: Mapping[str, Any] = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
_SERVER: Mapping[str, Any] = {"type": "object", "required": ["name", "version", "extensions"]}
_METADATA: Mapping[str, Any] = {"type": "object", "required": ["name", "versions", "platform", "inputs", "outputs"]}


def _names(images: Sequence[str]) -> dict[str, Any]:
    listed = {"type": "array", "items": {"enum": list(images)}}
    return {"type": "object", "required": ["models"], "properties": {"models": listed}}


def _responses(schema: Mapping[str, Any], errors: Sequence[str]) -> dict[str, Any]:
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {
        "200": {"description": "the answer", "content": {JSON: {"schema": schema}}},
        **{code: {"description": _ERRORS[code], "content": {JSON: error}} for code in sorted({*errors, *_ALWAYS})},
    }


def _get(
    summary: str, schema: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]] = (), errors: Sequence[str] = ()
) -> dict[str, Any]:
    return {"summary": summary, "parameters": list(parameters), "responses": _responses(schema, errors)}


def _predict(models: Sequence[Served], limits: Limits) -> dict[str, Any]:
    images = [served.name for served in models]
    texts = {"type": "array", "maxItems": MOST_CLASSES, "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}}
    options: dict[str, Any] = {
        "model": {"enum": list(images), "description": "needed where several are served"},
        "concepts": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "concept → the value it is corrected to, of a bottleneck",
        },
        "region": {
            "type": "object",
            "properties": {
                "remove": {"type": "array"},
                "within": {"type": "array"},
                "only": {"type": "array", "items": {"type": "string", "maxLength": LONGEST_TEXT}},
            },
            "additionalProperties": False,
            "description": "what concepts lose of each image (remove), or all that they keep (within): [x, y, width, height] in "
            "pixels, or a mask in rows; of a bottleneck exported with map=true",
        },
        "classes": {**texts, "minItems": 2, "uniqueItems": True, "description": "names, for a file with open classes"},
        "templates": {**texts, "minItems": 1, "description": "texts with one {} for the class's name"},
        "map": {"type": "boolean", "description": "also give the map, of a file that has one"},
        "preview": {"type": "boolean", "description": "also give a small PNG of what the model got"},
    }
    # In a form and in the query an option is JSON text.
    worded = {
        name: schema if name == "model" else {"type": "string", "contentMediaType": JSON, "description": schema["description"]}
        for name, schema in options.items()
    }
    files = {"type": "array", "minItems": 1, "maxItems": limits.images, "items": {"type": "string", "format": "binary"}}
    entry = {
        "type": "object",
        "required": ["data"],
        "properties": {"name": {"type": "string"}, "data": {"type": "string", "contentEncoding": "base64"}},
        "additionalProperties": False,
    }
    parts: dict[str, Any] = {}
    for served in models:  # two models may know one part; either takes it as its own
        for name, schema in served.kind.parts(files).items():
            other = parts.get(name, schema)
            parts[name] = schema if other == schema else {"anyOf": [*other.get("anyOf", [other]), schema]}
    samples = [told for served in models if (told := served.kind.sample(entry)) is not None]
    listed = {"type": "array", "minItems": 1, "maxItems": limits.images, "items": entry}
    bodies = [_object({"required": [IMAGES], "properties": {IMAGES: listed, **options}})]
    bodies += [_object({"required": [SAMPLE], "properties": {SAMPLE: told, **options}}) for told in samples]
    asked = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
    form = _object({"required": [IMAGE] if list(parts) == [IMAGE] else [], "properties": {**worded, **parts}})
    raw = {"schema": {"type": "string", "format": "binary"}}
    schema = {
        "type": "object",
        "required": ["model", "sha256", "notice", "results"],
        "properties": {"results": {"type": "array", "items": _ANY}},
    }
    return {
        "summary": "Answer images: files of a form, base64 in JSON, or one file as the body (DICOM too); or a sample of several "
        "modalities by name, or a case of several images",
        "parameters": [{"name": name, "in": "query", "required": False, "schema": worded[name]} for name in worded],
        "requestBody": {
            "required": True,
            "content": {FORM: {"schema": form}, JSON: {"schema": asked}, **dict.fromkeys(RAW, raw)},
        },
        "responses": _responses(schema, ("400", "404", "422")),
    }


def _dicomweb(models: Sequence[str]) -> dict[str, Any]:
    uid = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)*$", "maxLength": LONGEST_UID}
    about = {
        "model": {"enum": list(models), "description": "needed where several are served"},
        "store": {"type": "boolean", "description": "also store a structured report (TID 1500) in the study"},
    }
    asked = _object({"required": list(KEYS), "properties": {**dict.fromkeys(KEYS, uid), **about}})
    answered = {"type": "object", "required": ["model", "sha256", "notice", "results", "stored"]}
    return {
        "summary": "Answer an image of the archive, fetched by WADO-RS; store the report by STOW-RS",
        "requestBody": {"required": True, "content": {JSON: {"schema": asked}}},
        "responses": _responses(answered, ("400", "404", "422", "502")),
    }


def _object(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", **told, "additionalProperties": False}


def _infer(parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shape = {"type": "array", "minItems": 1, "maxItems": MOST_DIMENSIONS, "items": {"type": "integer", "minimum": 1}}
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": shape,
            "datatype": {"enum": [*TYPES, "BYTES"]},
            "data": {"type": "array", "description": "of BYTES a flat list of texts: text as it is, files in base64"},
            "parameters": {"type": "object"},
        },
    }
    asked = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "items": tensor},
            "outputs": {
                "type": "array",
                "items": _NAMED,
            },
            "parameters": {"type": "object"},
        },
    }
    answered = {"type": "object", "required": ["model_name", "model_version", "outputs"]}
    responses = _responses(answered, ("400", "404", "422"))
    responses["200"]["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    length = {"name": LENGTH, "in": "header", "required": False, "schema": {"type": "integer", "minimum": 0}}
    return {
        "summary": "Open inference protocol: tensors in, tensors out; raw ones behind the JSON (binary tensor extension)",
        "parameters": [*parameters, length],
        "requestBody": {"required": True, "content": {JSON: {"schema": asked}}},
        "responses": responses,
    }
