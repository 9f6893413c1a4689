"""`medzoo predict`: classify image files with an exported model; needs no torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.images.listing import find_images
from medzoo.data.labels import LabelSpace
from medzoo.data.text.prompts import DEFAULT_TEMPLATES
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.providers import PROVIDERS


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status, raises MedzooError on a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="medzoo predict", description="Classify images with an exported model.")
    parser.add_argument("model", type=Path, help="a file written by medzoo export")
    parser.add_argument("images", nargs="+", type=Path, help="image files, folders (searched recursively), or .npz files")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, every probability by name")
    parser.add_argument("--key", help="array of an .npz file, such as test_images")
    parser.add_argument(
        "--frames", choices=["members"],
        help="members: each frame or page of a file of several is an image, FILE[0], FILE[1], ...; without it as in training",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, help="predict the first so many images")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--provider", default="cpu", help=f"{', '.join(PROVIDERS)}; what does not run is an error (medzoo doctor)"
    )
    parser.add_argument("--device", type=int, default=0, metavar="N", help="number of the GPU, with cuda or tensorrt")
    parser.add_argument("--threads", type=int, help="CPU threads an operator may use")
    parser.add_argument("--engine-cache", type=Path, metavar="FOLDER", help="where TensorRT keeps the engines it builds")
    parser.add_argument("--fp16", action="store_true", help="let TensorRT compute in half precision")
    parser.add_argument("--tf32", action="store_true", help="let CUDA multiply float32 with 3 decimal digits: faster, unproven")
    parser.add_argument("--text-model", type=Path, help="text.onnx, to classify with --class by zeroshot_open.onnx")
    parser.add_argument("--class", dest="classes", action="append", help="a class name; give it for each class")
    parser.add_argument("--template", action="append", help="a text with one {} for the class name; several are averaged")
    parser.add_argument(
        "--set", dest="corrections", action="append", metavar="CONCEPT=VALUE",
        help="correct a concept of a bottleneck in every image, to 0..1; give it for each concept",
    )  # fmt: skip
    parser.add_argument("--on-error", choices=["stop", "skip"], default="stop", help="what an unreadable image does")
    given = parser.parse_args(list(arguments))
    if given.limit is not None and given.limit < 1:
        raise ConfigError(f"--limit {given.limit} must be at least 1")
    model = OnnxModel(
        given.model, provider=given.provider, threads=given.threads, device_id=given.device, engine_cache=given.engine_cache,
        fp16=given.fp16, tf32=given.tf32,
    )  # fmt: skip
    labels, vectors = model.labels, None
    if given.classes or given.text_model or given.template:
        labels, vectors = _open_classes(given.text_model, given.classes, given.template, given.threads)
    if given.frames is not None and model.dimensions == 3:
        raise ConfigError(f"--frames {given.frames} is for models of images, and this one takes volumes; leave it out")
    listing = find_images(given.images, given.key, model.dimensions, given.frames or model.frames)
    if listing.note is not None:
        print(f"medzoo: {listing.note}", file=sys.stderr)
    found = listing.found[: given.limit]
    width, skipped = max((len(name) for name, _ in found), default=0), 0
    sources = (source for _, source in found)
    predictions = model.stream(
        sources, batch_size=given.batch_size, on_error=given.on_error, class_embeddings=vectors,
        concept_values=_corrections(given.corrections),
    )  # fmt: skip
    for (name, _), prediction in zip(found, predictions, strict=True):
        if prediction.error is not None:
            skipped += 1
            print(f"medzoo: skipped: {prediction.error}", file=sys.stderr)
            continue
        print(format_prediction(name, prediction.outputs, labels, model.concepts, as_json=given.json, width=width))
    if skipped:
        print(f"medzoo: {skipped} of {len(found)} images skipped", file=sys.stderr)
    return 0


def _corrections(given: Sequence[str] | None) -> dict[str, float] | None:
    """Return concept → value of `name=value` texts."""
    if given is None:
        return None
    found = {}
    for text in given:
        name, _, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"--set {text!r} is not CONCEPT=VALUE with a value in 0..1, such as --set lesion=1") from None
    return found


def _open_classes(
    text_model: Path | None, classes: Sequence[str] | None, templates: Sequence[str] | None, threads: int | None
) -> tuple[LabelSpace, NDArray[np.float32]]:
    """Return labels and class vectors of class names given on the command line."""
    if text_model is None or not classes:
        raise ConfigError("classifying by text needs --text-model text.onnx and a --class NAME for each class")
    for template in templates or ():
        if template.count("{}") != 1:
            raise ConfigError(f"--template {template!r} must hold {{}} once, where the class name goes")
    prompts = {name: [template.replace("{}", name) for template in templates or DEFAULT_TEMPLATES] for name in classes}
    return LabelSpace("multiclass", tuple(classes)), OnnxModel(text_model, threads=threads).class_embeddings(prompts)


def format_prediction(
    name: str,
    outputs: Mapping[str, NDArray[Any]],
    labels: LabelSpace | None,
    concepts: Sequence[str] = (),
    *,
    as_json: bool,
    width: int = 0,
) -> str:
    """Return the line of one image: JSON, or its name (padded to `width`) and what the model says.

    Args:
        name: The image's.
        outputs: Output name → its row.
        labels: What `logits` and `probabilities` mean; None: all outputs are given as JSON.
        concepts: Names of the `concepts` of a bottleneck.
        as_json: Every probability and concept by name, for programs.
        width: Characters the name takes.
    """
    if labels is None:
        return json.dumps({"image": name, **{k: v.tolist() for k, v in outputs.items()}})
    values = [float(v) for v in outputs["probabilities"]]
    by_name = dict(zip(labels.names, values, strict=True))
    if not as_json:
        return f"{name:<{width}}  {_said(by_name, labels)}"
    said: dict[str, Any] = {"image": name}
    if labels.exclusive:
        said["class"] = max(by_name, key=by_name.__getitem__)
    if labels.kind == "ordinal":
        said["grade"] = values.index(max(values))
        said["expected_grade"] = sum(grade * p for grade, p in enumerate(values))
    said["values" if labels.kind == "regression" else "probabilities"] = by_name
    if labels.units is not None:
        said["units"] = dict(zip(labels.names, labels.units, strict=True))
    if labels.kind != "regression":
        said["logits"] = dict(zip(labels.names, map(float, outputs["logits"]), strict=True))
    if concepts:
        said["concepts"] = dict(zip(concepts, map(float, outputs["concepts"]), strict=True))
    return json.dumps(said, ensure_ascii=False)


def _said(values: dict[str, float], labels: LabelSpace) -> str:
    if labels.kind == "regression":
        units = labels.units or ("",) * labels.width
        return "  ".join(f"{n} {v:.3f} {u}".rstrip() for (n, v), u in zip(values.items(), units, strict=True))
    ranked = sorted(values.items(), key=lambda item: -item[1])
    name, highest = ranked[0]
    if labels.kind == "ordinal":
        expected = sum(grade * p for grade, p in enumerate(values.values()))
        grade = str(labels.index(name))
        shown = f"grade {grade}" if name == grade else f"grade {grade} ({name})"
        return f"{shown} {highest:.3f}, expected grade {expected:.2f}"
    if labels.exclusive:
        return f"{name} {highest:.3f}"
    return "  ".join(f"{n} {v:.3f}" for n, v in ranked if v > 0.5) or f"none above 0.5 (highest: {name} {highest:.3f})"
