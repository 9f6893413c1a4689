"""How often 95% intervals hold the truth on patients with several images: patients redrawn, or images as if each were one.

Run: python -m benchmarks.coverage [trials] [replicates] [patients ...]

Of patients redrawn, percentile intervals and expanded ones (`evaluation.interval=expanded`); of images percentile ones alone.

A patient is ill or not, and all of its images show it; scores are normal, a share of their variance the patient's own, half of
that the same for both models. Of two unit normals that are d apart the area under the ROC curve is Φ(d/√2): the truth is known.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from medzoo.evaluation.bootstrap import Interval, group_codes, replicate_counts
from medzoo.evaluation.ranking import ranking_metrics
from medzoo.evaluation.weighting import Floats, Weighting

APART = (1.0, 1.3)
"""How far ill and healthy are apart in the scores of either model, in standard deviations."""
EXPANDED = "patients, expanded"


@dataclass(frozen=True)
class Patients:
    """Made-up patients, half of them ill."""

    patients: int = 120
    images: int = 5
    share: float = 0.6  # of the variance, between patients

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.bool_], list[Floats]]:
        """Return which images are of ill patients, and the scores that the two models give new ones."""
        of = np.repeat(np.arange(self.patients), self.images)
        shared = rng.normal(size=self.patients)
        models = []
        for apart in APART:
            own = (shared + rng.normal(size=self.patients)) / np.sqrt(2)
            noise = rng.normal(size=len(of))
            models.append(apart * (of % 2) + np.sqrt(self.share) * own[of] + np.sqrt(1 - self.share) * noise)
        return of % 2 == 1, models

    def units(self, unit: str) -> list[str]:
        """Return what is redrawn: each image's patient, or the image itself."""
        count = self.patients * self.images
        return [str(i // self.images if unit == "patients" else i) for i in range(count)]


def drawn_areas(ill: NDArray[np.bool_], score: Floats, units: list[str], interval: Interval) -> Floats:
    """Return (B,) areas under the ROC curve of the replicates, as `Measured` draws them, and no other metric."""
    codes = group_codes(units)
    (counts,) = replicate_counts(int(codes.max()) + 1, interval.replicates, interval.seed, interval.replicates)
    return ranking_metrics(score, ill, Weighting(counts, codes))[0]


def covered(
    made: Patients, trials: int, replicates: int, units: tuple[str, ...] = ("patients", "images")
) -> dict[str, list[float]]:
    """Return, by what is redrawn, how often 95% intervals held the AUROC of the first model, and the difference of the second.

    Beside `patients` also `patients, expanded`, of the same replicates.
    """
    areas = [NormalDist().cdf(apart / np.sqrt(2)) for apart in APART]
    truths = (areas[0], areas[1] - areas[0])
    held = {kind: np.zeros(2) for unit in units for kind in ((unit, EXPANDED) if unit == "patients" else (unit,))}
    rng = np.random.default_rng(0)
    for trial in range(trials):
        ill, models = made.draw(rng)
        for unit in units:
            interval = Interval(replicates, 0.95, seed=trial)
            first, second = (drawn_areas(ill, score, made.units(unit), interval) for score in models)
            kinds = {unit: interval}
            if unit == "patients":
                kinds[EXPANDED] = replace(interval, expanded=True).among(made.patients)
            for place, drawn in enumerate((first, second - first)):
                for kind, asked in kinds.items():
                    low, high = asked.bounds(drawn)
                    held[kind][place] += low is not None and high is not None and low <= truths[place] <= high
    return {kind: [float(count) / trials for count in counts] for kind, counts in held.items()}


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    replicates = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    print(f"{trials} trials, {replicates} replicates; share of 95% intervals that hold the truth, AUROC and paired difference")
    asked = [Patients(patients=int(word)) for word in sys.argv[3:]]
    for made in asked or (Patients(), Patients(patients=20), Patients(patients=60), Patients(patients=240), Patients(images=1)):
        start = time.perf_counter()
        found = covered(made, trials, replicates)
        told = "; ".join(f"{unit} redrawn {one:.3f}, {two:.3f}" for unit, (one, two) in found.items())
        print(f"{made.patients} patients, {made.images} images each: {told} ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
