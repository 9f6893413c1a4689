"""Does a concept go off when the lesion is painted over, and stay on when an equal box elsewhere is? On the phantom.

Run: python -m benchmarks.concept_regions RUN [RUN ...]

Each run is a bottleneck on the phantom. Of its test images in which a lesion is drawn and rightly said, a box is painted over
with what surrounds it (`medzoo intervene paint=true`). The box is of the lesion's outline, wider by some pixels, or of every
pixel that drawing the lesion has changed: its soft edge, and its halo where it has one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.regions.masks import Mask
from medzoo.data.seeding import generator
from medzoo.inference.maps.of_run import MappedRun
from medzoo.inference.maps.regions import painted_over

CONCEPT, HALO = "lesion", 3
"""What is asked, and the bit of `drawn` that says whether a lesion has a dark halo."""
Corners = tuple[int, int, int, int]
"""First and last row, first and last column, the last of each not among them."""


def corners(mask: Mask, wider: int = 0) -> Corners:
    """Return the box around a mask, wider by some pixels on each side, within the image."""
    found = []
    for axis, side in ((1, mask.shape[0]), (0, mask.shape[1])):
        places = np.flatnonzero(mask.any(axis=axis))
        found += [max(0, int(places[0]) - wider), min(side, int(places[-1]) + 1 + wider)]
    return tuple(found)  # type: ignore[return-value]


def filled(box: Corners, size: tuple[int, ...]) -> Mask:
    """Return a box as a mask."""
    mask = np.zeros(size, bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    return mask


def elsewhere(box: Corners, lesion: Mask, rng: np.random.Generator, tries: int = 200) -> Mask | None:
    """Return a box of the same size that meets no pixel of the lesion; None where none was found."""
    height, width = box[1] - box[0], box[3] - box[2]
    for _ in range(tries):
        top, left = (int(rng.integers(0, side - length + 1)) for side, length in zip(lesion.shape, (height, width), strict=True))
        mask = filled((top, top + height, left, left + width), lesion.shape)
        if not (mask & lesion).any():
            return mask
    return None


def main() -> None:
    boxes: dict[str, Callable[[Mask, Mask], Corners]] = {
        "of the outline": lambda outline, changed: corners(outline),
        **{f"{n} px wider": lambda outline, changed, n=n: corners(outline, n) for n in (1, 2, 3)},  # type: ignore[misc]
        "of what was drawn": lambda outline, changed: corners(changed),
        "1 px wider than that": lambda outline, changed: corners(changed, 1),
    }
    for run in sys.argv[1:]:
        mapped = MappedRun.open(run, of="concepts")
        task, samples = mapped.explainer.task, mapped.split("test")
        regions: Any = mapped.dataset.regions
        place = mapped.explainer.place(CONCEPT)

        def said(images: list[NDArray[Any]], task: Any = task, place: int = place) -> NDArray[np.float64]:
            """Return the concept's logit of each image."""
            parts = [
                task.predict({"image": torch.from_numpy(np.stack(images[at : at + 64])).movedim(-1, 1).contiguous()})
                for at in range(0, len(images), 64)
            ]
            return np.concatenate([part["concept_logits"][:, place].double().numpy() for part in parts])

        rows = samples.rows.reset_index(drop=True)
        drawn = rows["drawn"].to_numpy(dtype=np.int64)
        images = [samples.pixels(index) for index in range(len(samples))]
        logits, truth = said(images), (drawn & 1).astype(bool)
        chosen = np.flatnonzero(truth & (logits > 0))
        print(f"{run}: AUROC {_auroc(logits, truth):.3f}; drawn and said in {len(chosen)} of {len(rows)} test images")
        marks = {}
        for index in chosen:
            name = str(samples.sample_ids[index])
            marks[index] = regions.of(name, CONCEPT, images[index].shape[:2])[0], regions.drawn(name)
        halo = (drawn[chosen] >> HALO & 1).astype(bool)
        for name, box_of in boxes.items():
            own, other = [], []
            for index in chosen:
                box = box_of(*marks[index])
                own.append(painted_over(images[index], filled(box, marks[index][0].shape)))
                place_of = elsewhere(box, marks[index][1], generator(0, "elsewhere", name, str(index)))
                other += [] if place_of is None else [painted_over(images[index], place_of)]
            off = said(own) <= 0
            away = said(other) <= 0
            print(
                f"  box {name:<22} off {off.mean():.1%} (with a halo {off[halo].mean():.1%} of {halo.sum()}, without "
                f"{off[~halo].mean():.1%} of {(~halo).sum()}); an equal box elsewhere {away.mean():.1%} of {len(away)}",
                flush=True,
            )


def _auroc(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return how often an image with the lesion scores above one without."""
    above = (scores[truth][:, None] > scores[~truth]).mean() + 0.5 * (scores[truth][:, None] == scores[~truth]).mean()
    return float(above)


if __name__ == "__main__":
    main()
