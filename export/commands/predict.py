"""`medzoo predict`: classify image files with an exported model; needs no torch."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.images.dicom.series import NUMBER, Series, sorted_by_number
from medzoo.data.images.listing import find_images
from medzoo.data.images.planes.stack import Stack
from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints
from medzoo.data.text.one_line import one_line
from medzoo.data.text.prompts import DEFAULT_TEMPLATES
from medzoo.export.commands.inputs_file import with_inputs
from medzoo.export.commands.map_pictures import MapPictures
from medzoo.export.commands.regions_file import regions_of
from medzoo.export.runtime.bags import ROWS
from medzoo.export.runtime.dicom_report import SCHEME, DicomReports, read_codes
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.providers import PROVIDERS
from medzoo.export.runtime.said import said_of


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
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID of the volume, of a directory of several DICOM series")
    parser.add_argument("--bags", action="store_true", help="each folder is one sample of as many images (of a file of bags)")
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
    parser.add_argument(
        "--inputs", type=Path, metavar="CSV",
        help="values and further images of a model of several modalities, or the other channels of an image: a row an image, "
        "named in the column image",
    )  # fmt: skip
    parser.add_argument(
        "--regions", metavar="REGION|CSV",
        help="of a bottleneck exported with map=true: remove=X,Y,WIDTH,HEIGHT (or a mask's file): concepts lose that part of "
        "each image; within=...: they keep it alone; or a CSV file with the columns image, remove, within and only",
    )  # fmt: skip
    parser.add_argument("--only", action="append", metavar="CONCEPT", help="a concept that --regions is for; without it all are")
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="also write what speaks for the answer over each image, PNG")
    parser.add_argument("--map", dest="mapped", action="append", metavar="NAME", help="a class or concept --maps writes; several")
    parser.add_argument(
        "--dicom-sr", type=Path, metavar="FOLDER", help="also write a DICOM structured report of each image, which must be DICOM"
    )
    parser.add_argument(
        "--dicom-codes", type=Path, metavar="FILE.json", help="codes of the labels for it; what has none gets one of medzoo's own"
    )
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
    reports, pictures = _reports(given, model), _pictures(given, model)
    if given.bags or ROWS in model.inputs:
        return _predict_bags(model, given)
    listing = find_images(given.images, given.key, model.dimensions, given.frames or model.frames)
    if listing.note is not None:
        print(f"medzoo: {listing.note}", file=sys.stderr)
    found: list[tuple[str, Any]] = _of_series(list(listing.found[: given.limit]), given.series)
    if given.inputs is not None:
        found = list(with_inputs(found, given.inputs, model.modalities, Stack.of_card(model.spec["data"])))
    width, skipped = max((len(one_line(name)) for name, _ in found), default=0), 0
    sources = (source for _, source in found)
    predictions = model.stream(
        sources, batch_size=given.batch_size, on_error=given.on_error, class_embeddings=vectors,
        concept_values=_corrections(given.corrections), regions=regions_of(found, given.regions, given.only),
    )  # fmt: skip
    for (name, source), prediction in zip(found, predictions, strict=True):
        if prediction.error is not None:
            skipped += 1
            print(f"medzoo: skipped: {one_line(str(prediction.error))}", file=sys.stderr)
            continue
        line = format_prediction(
            name, prediction.outputs, labels, model.concepts, points=model.points, as_json=given.json, width=width,
            targets=model.targets,
        )  # fmt: skip
        print(line)
        if reports is not None:
            reports.write(source, prediction.outputs)
        if pictures is not None:
            pictures.write(name, source, prediction.outputs)
    if pictures is not None:
        print(f"medzoo: wrote {pictures.count} maps into {given.maps}", file=sys.stderr)
    if skipped:
        print(f"medzoo: {skipped} of {len(found)} images skipped", file=sys.stderr)
    return 0


def _of_series(found: list[tuple[str, Any]], uid: str | None) -> list[tuple[str, Any]]:
    """Return what was found, directories as the series of a UID, and say which are sorted by their slices' numbers."""
    folders = [source for _, source in found if isinstance(source, Path) and source.is_dir()]
    if uid is not None and not folders:
        raise ConfigError(f"--series {uid} chooses of a directory of DICOM slices, and none is given; leave it out")
    for folder in folders:
        if sorted_by_number(Series(folder, uid)):
            print(f"medzoo: note: {folder}: slices have no positions: sorted by {NUMBER}", file=sys.stderr)
    return [(name, Series(source, uid) if source in folders else source) for name, source in found] if folders else found


def _reports(given: argparse.Namespace, model: OnnxModel) -> DicomReports | None:
    """Return what writes structured reports, and say which labels have no code of another's; None if none are asked for."""
    if given.dicom_sr is None:
        if given.dicom_codes is not None:
            raise ConfigError("--dicom-codes is for --dicom-sr FOLDER; leave it out, or give both")
        return None
    codes = {} if given.dicom_codes is None else read_codes(given.dicom_codes)
    reports = DicomReports(given.model, model, given.dicom_sr, codes)
    if reports.uncoded:
        print(f"medzoo: coded in medzoo's own scheme {SCHEME}: {', '.join(reports.uncoded)} (--dicom-codes)", file=sys.stderr)
    return reports


def _pictures(given: argparse.Namespace, model: OnnxModel) -> MapPictures | None:
    if given.maps is None:
        if given.mapped is not None:
            raise ConfigError("--map names what --maps FOLDER writes; leave it out, or give both")
        return None
    return MapPictures(given.model, model, given.maps, given.mapped)


def _predict_bags(model: OnnxModel, given: argparse.Namespace) -> int:
    """Predict bags: each path a folder of images, or of a model of feature rows a file of them."""
    if not model.takes_bags:
        raise ConfigError("--bags is for a file of bags, and this one takes single images; leave it out")
    for option, value in (
        ("--regions", given.regions), ("--dicom-sr", given.dicom_sr), ("--set", given.corrections), ("--inputs", given.inputs),
        ("--series", given.series),
    ):  # fmt: skip
        if value is not None:
            raise ConfigError(f"{option} is for single images, and this file answers for bags of them; leave it out")
    bags: list[Any] = given.images
    if ROWS not in model.inputs:
        found = [find_images([path], given.key, model.dimensions, given.frames or model.frames).found for path in given.images]
        bags = [[source for _, source in images] for images in found]
        for path, images in zip(given.images, found, strict=True):
            _refuse_folder_of_bags(path, {Path(name).parent for name, _ in images})
    names, bags = given.images[: given.limit], bags[: given.limit]
    width, skipped = max(len(one_line(str(path))) for path in given.images), 0
    # One by one where a bag may be skipped: what cannot be read must not take others with it.
    parts = [[place] for place in range(len(bags))] if given.on_error == "skip" else [list(range(len(bags)))]
    for part in parts:
        try:
            outputs = model.predict_cases([bags[place] for place in part], batch_size=given.batch_size)
        except ImageError as error:
            if given.on_error == "stop":
                raise
            skipped += 1
            print(f"medzoo: skipped: {one_line(f'{names[part[0]]}: {error}')}", file=sys.stderr)
            continue
        for row, place in enumerate(part):
            said = {name: values[row] for name, values in outputs.items()}
            print(format_prediction(str(names[place]), said, model.labels, points=model.points, as_json=given.json, width=width))
    if skipped:
        print(f"medzoo: {skipped} of {len(bags)} bags skipped", file=sys.stderr)
    return 0


def _refuse_folder_of_bags(path: Path, folders: set[Path]) -> None:
    """Refuse a folder whose images lie in several `folders` side by side, which are rather a bag each than one together."""
    if path.is_dir() and (around := Path(os.path.commonpath(folders))) not in folders:
        raise ConfigError(
            f"{path} holds folders of images and no image itself: give each as a bag, {shlex.quote(str(around))}/*/"
        )


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
    points: OperatingPoints | None = None,
    as_json: bool,
    width: int = 0,
    targets: Mapping[str, LabelSpace] | None = None,
) -> str:
    """Return the line of one image: JSON, or its name (padded to `width`) and what the model says.

    Args:
        name: The image's.
        outputs: Output name → its row.
        labels: What `logits` and `probabilities` mean; None: all outputs are given as JSON.
        concepts: Names of the `concepts` of a bottleneck.
        points: What `calls` are by; None: there are none.
        as_json: Every probability and concept by name, for programs.
        width: Characters the name takes.
        targets: What the outputs of each of several targets mean; None, or empty: there is one.
    """
    name = name if as_json else one_line(name)
    if targets and not as_json:
        own = {target: dict(zip(space.names, map(float, outputs[f"{target}.probabilities"]), strict=True))
               for target, space in targets.items()}  # fmt: skip
        return f"{name:<{width}}  " + "  |  ".join(f"{target}: {_said(own[target], targets[target])}" for target in targets)
    if labels is None or as_json:
        said = said_of(outputs, labels, concepts, points, targets)
        return json.dumps({"image": name, **said}, ensure_ascii=labels is None and not targets)
    by_name = dict(zip(labels.names, map(float, outputs["probabilities"]), strict=True))
    calls = {} if points is None else points.by_name(outputs["calls"])
    sets, intervals = outputs.get("prediction_set"), outputs.get("prediction_interval")
    called = (f"  [{rule}: {', '.join(n for n, call in found.items() if call) or 'none'}]" for rule, found in calls.items())
    return f"{name:<{width}}  {_said(by_name, labels)}{_said_of_sets(sets, intervals, labels)}{''.join(called)}"


def _said_of_sets(sets: NDArray[Any] | None, intervals: NDArray[Any] | None, labels: LabelSpace) -> str:
    if sets is not None:
        return f"  set {{{', '.join(n for n, inside in zip(labels.names, sets, strict=True) if inside)}}}"
    if intervals is not None:
        return "  " + "  ".join(f"{n} [{low:.3f}, {high:.3f}]" for n, (low, high) in zip(labels.names, intervals, strict=True))
    return ""


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
