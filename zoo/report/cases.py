"""Samples a reader should see: the surest right answers, the surest wrong ones, and those the model was least sure of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset
from medzoo.data.errors import MedzooError
from medzoo.data.images.thumbnail import thumbnail
from medzoo.evaluation.predictions import Predictions
from medzoo.report.blocks import Block, Case, Cases, Note, Section

SIDE = 192


@dataclass(frozen=True)
class Look:
    """What shows where a model looked.

    Attributes:
        of: sample_id → its image with the map over it, (H, W, 3) uint8; None where there is none.
        said: What made the maps, and whether they are exact.
    """

    of: Callable[[str], NDArray[np.uint8] | None]
    said: str


def cases(predictions: Predictions, dataset: Dataset | None, each: int, look: Look | None = None) -> Section:
    """Return so many samples of each kind, with their images where the dataset is at hand.

    Of classes, a sample's certainty is the probability of the class it is given; of findings, of the finding that is furthest
    from 0.5 among those it is right (or wrong) about; quantities have errors in standard deviations of their targets.

    Args:
        predictions: Of one split.
        dataset: The run's, for the images; None: it is not at hand.
        each: How many; 0: none.
        look: Where the model looked for what it says; None: not shown.
    """
    if not each:
        return Section("cases", "Cases")
    order = _orders(predictions)
    images = _Images(dataset)
    blocks: list[Block] = []
    if dataset is None:
        blocks.append(Note("The images are not at hand (data.root= says where they are): the cases are named alone."))
    elif look is not None:
        blocks.append(Note(f"Beside each image: where the network looked for what it says most, {look.said}."))
    for caption, places in order.items():
        if len(places):
            blocks.append(Cases(caption, [_case(predictions, int(place), images, look) for place in places[:each]]))
    return Section("cases", "Cases", blocks)


def _orders(predictions: Predictions) -> dict[str, NDArray[np.int64]]:
    """Return places of samples by kind, the most telling first; equal ones by name."""
    truth, said = predictions.targets.astype(np.float64), predictions.probabilities.astype(np.float64)
    names = predictions.sample_id.astype(str)

    def first(score: NDArray[np.float64], keep: Any) -> NDArray[np.int64]:
        places = np.flatnonzero(keep & ~np.isnan(score))
        return places[np.lexsort((names[places], -score[places]))]

    if predictions.labels.kind == "regression":
        with np.errstate(invalid="ignore"):
            known = ~np.isnan(truth)
            spread = np.array([column[~np.isnan(column)].std() if (~np.isnan(column)).any() else np.nan for column in truth.T])
            error = np.abs(said - truth) / np.where(spread > 0, spread, np.nan)
        any_known = known.any(axis=1)
        mean = np.full(len(truth), np.nan)
        mean[any_known] = np.nanmean(np.where(known, error, np.nan)[any_known], axis=1) if any_known.any() else np.nan
        return {"Nearest to the truth": first(-mean, any_known), "Furthest from the truth": first(mean, any_known)}
    if predictions.labels.exclusive:
        labelled = ~np.isnan(truth).any(axis=1)
        right = labelled & (said.argmax(axis=1) == np.nan_to_num(truth).argmax(axis=1))
        sure = said.max(axis=1)
        return {
            "Wrong, and sure": first(sure, labelled & ~right), "Least sure": first(-sure, labelled),
            "Right, and sure": first(sure, right),
        }  # fmt: skip
    known = ~np.isnan(truth)
    hit = known & ((said > 0.5) == (np.nan_to_num(truth) > 0.5))
    distance = np.abs(said - 0.5)
    wrong = np.where(known & ~hit, distance, -1.0).max(axis=1)
    right_by = np.where(hit, distance, -1.0).max(axis=1)
    unsure = -np.where(known, distance, np.inf).min(axis=1)
    labelled = known.any(axis=1)
    all_right = labelled & ~(known & ~hit).any(axis=1)
    return {
        "Wrong, and sure": first(wrong, wrong >= 0), "Least sure": first(unsure, labelled),
        "Right, and sure": first(right_by, all_right),
    }  # fmt: skip


def _case(predictions: Predictions, place: int, images: _Images, look: Look | None) -> Case:
    name = str(predictions.sample_id[place])
    image, missing = images.of(name)
    seen = look.of(name) if look is not None and image else None
    overlay = "" if seen is None else thumbnail(np.moveaxis(seen, -1, 0), SIDE)
    return Case(name, _said(predictions, place), image, overlay, missing)


def _said(predictions: Predictions, place: int) -> str:
    """Return what is true and what the model says: `true: cyst; says: tumour 0.93`."""
    names, truth, said = predictions.labels.names, predictions.targets[place], predictions.probabilities[place]
    if predictions.labels.kind == "regression":
        return "; ".join(
            f"{n}: true {t:.4g}, says {p:.4g}" for n, t, p in zip(names, truth, said, strict=True) if not np.isnan(t)
        )
    held = [n if t == 1 else f"{n} {t:.2f}" for n, t in zip(names, truth, strict=True) if t > 0]
    true = ", ".join(held) or ("unknown" if np.isnan(truth).all() else "none")
    if predictions.labels.exclusive:
        top = int(said.argmax())
        return f"true: {true}; says: {names[top]} {said[top]:.2f}"
    order = [k for k in np.argsort(-said, kind="stable") if said[k] > 0.5 or truth[k] > 0][:4] or [int(said.argmax())]
    return f"true: {true}; says: " + ", ".join(f"{names[k]} {said[k]:.2f}" for k in order)


class _Images:
    """Thumbnails of samples by their names."""

    def __init__(self, dataset: Dataset | None) -> None:
        self._dataset = dataset
        self._rows = None if dataset is None else dataset.table.set_index("sample_id", drop=False)

    def of(self, name: str) -> tuple[str, str]:
        """Return a sample's image as PNG in base64, and why there is none."""
        if self._dataset is None or self._rows is None:
            return "", "not at hand"
        if name not in self._rows.index:
            return "", "not in the dataset any more"
        row, reader = self._rows.loc[name], self._dataset.reader
        try:
            images = reader.images(*(row[column] for column in reader.columns))
            if not images:
                return "", "no image"
            return thumbnail(reader.read(*next(iter(images.values()))), SIDE), ""
        except (MedzooError, OSError) as error:
            return "", str(error)
