"""Maps of a whole split, measured: against marked regions, and by deletion and insertion."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.regions.turned import turned_note
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.seeding import generator
from medzoo.evaluation.bootstrap import Interval
from medzoo.inference.maps.faithfulness import STEPS, area, curves
from medzoo.inference.maps.localisation import CUTS, THRESHOLDS, Hits, mean_of
from medzoo.inference.maps.of_run import MappedRun

DRAWN = ("deletion", "insertion", "random_deletion", "random_insertion")


def localisation(
    mapped: MappedRun, split: str, *, name: str | None = None, images: int | None = None, interval: Interval | None = None
) -> dict[str, Any]:
    """Hold the maps of a split against what is marked in its images.

    A class's maps are taken of every image that has a region of it, whatever the model says; the pointing game is also told of
    those alone where the model calls it.

    Args:
        mapped: The run.
        split: Of its dataset.
        name: One class, finding or concept; None: all that have regions.
        images: Most images, drawn at random; None: all.
        interval: How intervals over groups are made.

    Returns:
        JSON-ready: `notes` on the regions, `classes` by name and `all` of them together, see
        `medzoo.inference.maps.localisation.Hits.described`.

    Raises:
        ConfigError: If nothing is marked in the dataset or the split, or its images are prepared ones.
        UnknownNameError: If there is no such name or split.
    """
    interval, regions, dataset = interval or Interval(), mapped.dataset.regions, mapped.dataset
    if regions is None:
        raise ConfigError(f"in {dataset.info.name} no regions are marked; docs/explanations.md says which datasets have them")
    if dataset.reader.prepared is not None:
        raise ConfigError("regions are marked in the images as their files have them: leave data.packed out")
    known = [label for label in mapped.labels.names if label in regions.names]
    if name is not None and name not in known:
        raise UnknownNameError(f"region of {mapped.of}", name, known)
    names = known if name is None else [name]
    samples, hits = mapped.split(split), {label: Hits() for label in names}
    held: list[int] = []
    for index in _places(samples, images, interval.seed):
        pixels = samples.pixels(index)
        marked = {label: regions.of(str(samples.sample_ids[index]), label, pixels.shape[:-1]) for label in names}
        if not any(marked.values()):
            continue
        held.append(index)
        called = mapped.said(mapped.explainer.outputs(pixels))
        for label in (label for label, masks in marked.items() if masks):
            made = mapped.explainer.map(pixels, label)
            group = str(samples.rows["group"].iloc[index])
            hits[label].add(made.image, marked[label], group, bool(called[mapped.explainer.place(label)]))
    kept = {label: found for label, found in hits.items() if found.groups}
    if not kept:
        raise ConfigError(f"no region of {', '.join(map(repr, names)) or 'the model'} is marked in the {split} split")
    together = Hits()
    for found in kept.values():
        together = together.joined(found)
    unit, note = dataset.info.split_unit, turned_note(regions, samples.rows.iloc[held], dataset.reader)
    return {
        **_about(mapped, split),
        "regions": regions.source,
        "notes": [] if note is None else [note],
        "thresholds": list(THRESHOLDS),
        "cuts": list(CUTS),
        "classes": {label: found.described(interval, unit) for label, found in kept.items()},
        "all": together.described(interval, unit),
    }


def deletion(
    mapped: MappedRun, split: str, *, name: str | None = None, images: int | None = None, interval: Interval | None = None
) -> dict[str, Any]:
    """Take away and put back pixels in the order of each image's map; arguments as for `localisation`.

    The map is of what the model says of the image (or of `name`), and so is the probability that is followed.

    Returns:
        JSON-ready: the area under each curve with its interval, the difference to the random map, and the mean curves.

    Raises:
        ConfigError: If the outputs are quantities, which have no probability.
        EvaluationError: If the split has no image.
    """
    if mapped.labels.kind == "regression":
        raise ConfigError("deletion and insertion follow a probability; quantities have none")
    interval = interval or Interval()
    samples = mapped.split(split)
    groups, found = [], []
    for index in _places(samples, images, interval.seed):
        pixels, sample = samples.pixels(index), str(samples.sample_ids[index])
        label = name or mapped.strongest(mapped.explainer.outputs(pixels))
        made = mapped.explainer.map(pixels, label)
        drawn = curves(
            partial(mapped.probability, name=label), mapped.explainer.inputs(pixels), made.cells, sample, interval.seed
        )
        found.append(np.stack([getattr(drawn, kind) for kind in DRAWN]))
        groups.append(str(samples.rows["group"].iloc[index]))
    if not found:
        raise EvaluationError(f"the {split} split is empty")
    every = np.stack(found)
    areas = {kind: np.array([area(row) for row in every[:, place]]) for place, kind in enumerate(DRAWN)}
    areas["deletion_less_random"] = areas["deletion"] - areas["random_deletion"]
    areas["insertion_less_random"] = areas["insertion"] - areas["random_insertion"]
    unit = mapped.dataset.info.split_unit
    return {
        **_about(mapped, split),
        "images": len(every),
        "name": name,
        "seed": interval.seed,
        "areas": {kind: mean_of(values, groups, interval, unit) for kind, values in areas.items()},
        "steps": [step / STEPS for step in range(STEPS + 1)],
        "curves": {kind: every[:, place].mean(axis=0).tolist() for place, kind in enumerate(DRAWN)},
    }


MEASURES = {"localisation": localisation, "deletion": deletion}


def _about(mapped: MappedRun, split: str) -> dict[str, Any]:
    return {
        "split": split, "of": mapped.of, "map": mapped.explainer.method, "why": mapped.explainer.why,
        "spec": mapped.explainer.task.spec.hash,
    }  # fmt: skip


def _places(samples: SampleDataset, images: int | None, seed: int) -> Iterator[int]:
    """Yield the places of a split's samples, in table order; of more than asked for so many, drawn at random."""
    if images is None or images >= len(samples):
        yield from range(len(samples))
    else:
        yield from sorted(map(int, generator(seed, "mapped images").choice(len(samples), images, replace=False)))
