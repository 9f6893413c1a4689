"""`medzoo explain`: where a network looked, measured or of one sample; a concept bottleneck's weights and contributions."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.data.errors import ConfigError, MedzooError, UnknownNameError
from medzoo.evaluation.bootstrap import Interval, value_text
from medzoo.inference.bottleneck_run import open_bottleneck
from medzoo.inference.devices import make_accelerator
from medzoo.inference.explain import concept_weights, explain_sample, plot_explanation, plot_weights
from medzoo.inference.maps.measure import MEASURES
from medzoo.inference.maps.of_run import MappedRun
from medzoo.inference.maps.overlay import plot_map
from medzoo.inference.predict import run_dataset
from medzoo.settings.verbs import ExplainConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import write_file


def main(config: ExplainConfig) -> None:
    """Run the command.

    Raises:
        ConfigError: If a setting is wrong, the model has no such outputs, or the map asked for does not suit it.
        EvaluationError: If a bottleneck's predictions are missing, or of another model.
        UnknownNameError: If there is no such sample, output or measure.
    """
    if config.run is None:
        raise ConfigError("say which run to explain: run=<run directory>")
    run = RunDirectory.open_to_write(Path(config.run))
    if config.measure is not None:
        _measure(config)
        return
    has_concepts = ModelSpec.read(run.spec).concepts is not None
    if config.map is not None or (config.sample is not None and not has_concepts):
        _map(config)
    elif config.sample is None and not has_concepts:
        raise ConfigError("say which sample: sample=<sample_id>, or measure=localisation or measure=deletion for a whole split")
    else:
        _contributions(config)


def _measure(config: ExplainConfig) -> None:
    if config.measure not in MEASURES:
        raise UnknownNameError("measure", str(config.measure), MEASURES)
    if config.images is not None and config.images < 1:
        raise ConfigError(f"images={config.images} must be at least 1, or null for all")
    interval = Interval.of(config)
    mapped = _opened(config)
    found = MEASURES[config.measure](mapped, config.split, name=config.name, images=config.images, interval=interval)
    path = mapped.run.path / f"{config.measure}.json"
    write_file(path, json.dumps(found, indent=2, allow_nan=False).encode("utf-8"))
    print(f"{config.split}: maps by {found['map']} ({found['why']})")
    print("\n".join((_localisation_lines if config.measure == "localisation" else _deletion_lines)(found)))
    print(f"wrote {path}")


def _localisation_lines(found: dict[str, Any]) -> list[str]:
    lines = []
    for name, told in {**found["classes"], "all together": found["all"]}.items():
        pointing = told["pointing_game"]
        lines.append(
            f"  {name:<20} pointing game {_text(pointing['all'])} of {told['images']} images, "
            f"{_text(pointing['called'])} of the {told['called']} it is called in; chance {told['chance']:.3f}"
        )
        for kind, shown in (("iou", "IoU"), ("iobb", "IoBB")):
            shares = "  ".join(f">{limit} {value_text(row['found']['value'])}" for limit, row in told[kind].items())
            lines.append(f"  {'':<20} {shown} {shares}")
    return [*lines, *(f"note: {note}" for note in found["notes"])]


def _deletion_lines(found: dict[str, Any]) -> list[str]:
    areas = found["areas"]
    return [
        f"  {kind}: area {_text(areas[kind])}, of a random map {_text(areas[f'random_{kind}'])}, "
        f"difference {_text(areas[f'{kind}_less_random'])} ({better} is better)"
        for kind, better in (("deletion", "less"), ("insertion", "more"))
    ]


def _text(measured: dict[str, Any]) -> str:
    return value_text(measured["value"], measured["low"], measured["high"])


def _opened(config: ExplainConfig) -> MappedRun:
    assert config.run is not None
    return MappedRun.open(
        config.run, method=config.map or "auto", of=config.of, checkpoint=config.checkpoint, data=config.data,
        device=make_accelerator(config.device).device,
    )  # fmt: skip


def _map(config: ExplainConfig) -> None:
    if config.sample is None:
        raise ConfigError("say which sample the map is of: sample=<sample_id>")
    mapped = _opened(config)
    samples, index = mapped.sample(config.sample)
    pixels = samples.pixels(index)
    name = config.name or mapped.strongest(mapped.explainer.outputs(pixels))
    made = mapped.explainer.map(pixels, name)
    unseen = float(np.isnan(made.image).mean())
    stem = mapped.run.path / "explanations" / _file_name(f"{config.sample}.{name}")
    about = {
        "sample_id": config.sample, "of": mapped.of, "name": name, "output": made.output, "map": made.method,
        "why": mapped.explainer.why, "bias": made.bias, "cells": list(made.cells.shape), "image": list(made.image.shape),
        "never_seen": unseen, "views": samples.views,
    }  # fmt: skip
    content = io.BytesIO()
    np.save(content, made.image, allow_pickle=False)
    title = f"{name}: {made.output:.3g}, {made.method}"
    for suffix, written in (
        (".npy", content.getvalue()),
        (".json", json.dumps(about, indent=2).encode("utf-8")),
        (".png", plot_map(pixels, made.image, title)),
    ):
        write_file(stem.with_name(stem.name + suffix), written)
    print(f"{config.sample}: {name} {made.output:.3f}, map by {made.method} ({mapped.explainer.why})")
    if unseen:
        print(f"note: the network never saw {unseen:.0%} of the image (mode=crop): the map is NaN there")
    if samples.views is not None and samples.views > 1:
        print("note: the sample has several views: the map is of the first that is there, and so is the output")
    print(f"wrote {stem}.npy, .json and .png")


def _contributions(config: ExplainConfig) -> None:
    assert config.run is not None
    run, task, predictions = open_bottleneck(config.run)
    if config.sample is None:
        weights = concept_weights(task, predictions)
        print(weights.round(3).to_string())
        write_file(run.path / "concept_weights.csv", weights.to_csv().encode("utf-8"))
        write_file(run.plots / "concept_weights.png", plot_weights(weights))
        return
    explanation = explain_sample(task, predictions, config.sample)
    print(explanation.table.round(3).to_string(na_rep=""))
    print("sum  " + "  ".join(f"{name} {value:.3f}" for name, value in explanation.outputs.items()))
    name = _file_name(config.sample)
    content = {"sample_id": explanation.sample_id, "outputs": explanation.outputs}
    content["table"] = json.loads(explanation.table.to_json(orient="index"))
    write_file(run.path / "explanations" / f"{name}.json", json.dumps(content, indent=2).encode("utf-8"))
    write_file(run.path / "explanations" / f"{name}.png", plot_explanation(explanation, _image(run, config.sample)))


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text)


def _image(run: RunDirectory, sample_id: str) -> np.ndarray | None:  # type: ignore[type-arg]
    """Return the sample's picture, (H, W) or (H, W, 3); None where the images are not at hand."""
    try:
        dataset = run_dataset(run, {}, ModelSpec.read(run.spec))
        row = dataset.table.set_index("sample_id", drop=False).loc[sample_id]
        images = dataset.reader.images(*(row[column] for column in dataset.reader.columns))
        pixels = dataset.reader.read(*next(iter(images.values())))
    except (MedzooError, OSError):
        return None
    flat = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    return flat[0] if flat.shape[0] == 1 else np.moveaxis(flat, 0, -1)
