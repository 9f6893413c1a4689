"""`medzoo intervene`: what correcting, setting or randomising concepts does to a bottleneck's classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.seeding import generator
from medzoo.evaluation.bootstrap import Interval, value_text
from medzoo.evaluation.monitor import METRICS, monitor_value, monitorable
from medzoo.inference.bottleneck_run import open_bottleneck
from medzoo.inference.intervene import POLICIES, class_logits, intervention_curve, parse_concepts
from medzoo.inference.maps.of_run import MappedRun
from medzoo.inference.maps.regions import box_mask, look_again, look_past
from medzoo.settings.verbs import InterveneConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.figures import figure_png
from medzoo.store.storage import write_file
from medzoo.tasks.bottleneck import Bottleneck


def main(config: InterveneConfig) -> dict[str, Any]:
    """Run the command; returns what it wrote to `interventions.json`.

    Of concepts set or drawn that is `interventions_set.json`, of one image looked at again `interventions_region.json`.

    Raises:
        ConfigError: If the run is no concept bottleneck, or a setting is wrong.
        EvaluationError: If its predictions are missing or of another model, the metric is undefined on them, or no truth of a
            concept is known and none is set.
    """
    if config.run is None:
        raise ConfigError("say which run to intervene in: run=<run directory>")
    RunDirectory.open_to_write(Path(config.run))
    if config.sample is not None or config.remove is not None or config.within is not None:
        return _looked_again(config)
    if not config.policies:
        raise ConfigError(f"policies is empty; choose of {', '.join(POLICIES)}")
    Interval.of(config)  # a wrong setting is said before anything is read
    run, task, predictions = open_bottleneck(config.run)
    labels, predictions = task.spec.label_space, predictions.of_split(config.split)
    chosen = _chosen(config, task, len(predictions)) if config.set or config.randomise else None
    name = config.metric or METRICS[labels.kind][0]
    before = monitor_value(labels, predictions.targets, predictions.logits, name)
    never = monitorable(labels, predictions.targets, name)
    if never is not None:
        raise EvaluationError(f"{name} is undefined on the {config.split} split ({never}); give another metric=... or split=...")
    result: dict[str, Any] = {
        "spec": predictions.spec_hash, "weights": predictions.details.get("weights"), "split": config.split, "metric": name,
        "before": before,
    }  # fmt: skip
    print(f"{config.split}: {name} {value_text(before)} as predicted")
    if chosen is not None:
        logits = class_logits(task, predictions, *chosen)
        result["after"] = monitor_value(labels, predictions.targets, logits, name)
        result["set"], result["randomised"] = dict(config.set), list(config.randomise)
        said = [f"{key} = {value:g}" for key, value in config.set.items()] + [f"{key} at random" for key in config.randomise]
        print(f"{config.split}: {name} {value_text(result['after'])} with {', '.join(said)}")
    else:
        for policy in config.policies:
            rows = intervention_curve(
                task, predictions, policy=policy, seed=config.seed, groups=config.groups, metric=name,
                replicates=config.replicates, level=config.level,
            )  # fmt: skip
            result.setdefault("curves", {})[policy] = rows
            for row in rows:
                text = value_text(row["value"], row["low"], row["high"])
                print(f"  {policy:<12} {row['corrected']:>2} corrected  {name} {text}")
        write_file(run.plots / f"interventions_{config.split}.png", _plot(result["curves"], name))
    name_of_file = "interventions.json" if chosen is None else "interventions_set.json"
    write_file(run.path / name_of_file, json.dumps(result, indent=2, allow_nan=False).encode("utf-8"))
    return result


def _looked_again(config: InterveneConfig) -> dict[str, Any]:
    """Print and write what concepts and classes become when a person says where the evidence may lie."""
    if config.sample is None or (config.remove is None) == (config.within is None):
        raise ConfigError("give sample=<sample_id> with one of remove=[x,y,width,height] and within=[x,y,width,height]")
    if config.paint and config.remove is None:
        raise ConfigError("paint=true paints over what remove=[x,y,width,height] takes away; give that, or leave paint out")
    mapped = MappedRun.open(str(config.run), of="concepts", data=config.data)
    task = mapped.explainer.task.bottleneck
    assert task is not None
    samples, index = mapped.sample(config.sample)
    pixels = samples.pixels(index)
    box = config.remove if config.remove is not None else config.within
    region = box_mask(box or [], pixels.shape[:-1])
    if config.paint:
        found = look_past(task, pixels, region, config.only or None)
    else:
        found = look_again(task, pixels, ~region if config.remove is not None else region, config.only or None)
    names, classes = task.concept_labels.names, task.spec.label_space.names
    result: dict[str, Any] = {
        "sample_id": config.sample, "remove": config.remove, "within": config.within, "paint": config.paint,
        "only": config.only,
        "values": {when: dict(zip(names, map(float, values), strict=True)) for when, values in found.concepts.items()},
        "logits": {when: dict(zip(classes, map(float, values), strict=True)) for when, values in found.logits.items()},
    }  # fmt: skip
    for kind in ("values", "logits"):
        for name, before in result[kind]["before"].items():
            print(f"  {name:<20} {before:.3f} -> {result[kind]['after'][name]:.3f}")
    write_file(mapped.run.path / "interventions_region.json", json.dumps(result, indent=2, allow_nan=False).encode("utf-8"))
    return result


def _chosen(config: InterveneConfig, task: Bottleneck, samples: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Return values and mask (N, M) of concepts set by name, or drawn at random."""
    concepts = task.spec.concepts
    assert concepts is not None
    both = sorted(set(config.set) & set(config.randomise))
    if both:
        raise ConfigError(f"concept {both[0]!r} is both set and randomised; choose one")
    values = np.zeros((samples, concepts.width), dtype=np.float32)
    mask = np.zeros((samples, concepts.width), dtype=bool)
    for place, value in parse_concepts(concepts, config.set).items():
        values[:, place], mask[:, place] = value, True
    for place in parse_concepts(concepts, config.randomise):
        values[:, place] = generator(config.seed, "randomised concept", place).integers(0, 2, samples)
        mask[:, place] = True
    return values, mask


def _plot(curves: dict[str, list[dict[str, Any]]], metric: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for policy, rows in curves.items():
        steps = [row["corrected"] for row in rows]
        axes.plot(steps, [float("nan") if row["value"] is None else row["value"] for row in rows], marker="o", label=policy)
        if all(row["low"] is not None for row in rows):
            axes.fill_between(steps, [row["low"] for row in rows], [row["high"] for row in rows], alpha=0.15)
    axes.set(xlabel="concepts corrected", ylabel=metric)
    axes.legend(frameon=False)
    return figure_png(figure)
