"""Draws phantom images: a body, and in it whatever the concepts say. Nothing here is measured on anyone.

A drawing is a function of the reader's settings and of the row's attributes alone (another processor may round a pixel
to the next grey level). What belongs to the patient (place and shape of the organ, texture) is drawn from the patient's
name, what belongs to one image (lesion, vessel, noise) from the sample's, so that several images of a patient resemble
each other as real ones do.

Lengths are fractions of half the image's width: the image spans -1..1. Grey values are fractions of white.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.dataset import Reader
from medzoo.data.images.reader import is_missing
from medzoo.data.seeding import generator

CONCEPTS = ("lesion", "irregular border", "bright spots", "dark halo", "vessel")
STRIPES = len(CONCEPTS)  # the bit of the planted confounder
SITES = ("north", "south")
# Grey offset of the background, and colour of each channel, by site: a scanner's or lamp's look.
_BACKGROUND = {"north": 0.12, "south": 0.20}
_TINT = {"north": (1.00, 0.82, 0.76), "south": (0.92, 0.86, 0.88)}
_LESION_TINT = (0.10, -0.06, -0.04)  # a lesion is a little redder than the organ
_CACHE_BYTES = 1 << 28
MARKED = 0.5
"""Strength from which on a pixel of a soft edge counts as the thing's own."""

Floats = NDArray[np.float32]


@dataclass
class PhantomReader(Reader):
    """Draws images; keeps what it has drawn, up to 256 MiB.

    Attributes:
        seed: Of everything random in a drawing.
        size: Pixels a side.
        dims: 2 or 3.
        channels: 1 (gray) or 3 (RGB).
        noise: Standard deviation of the pixel noise, as a fraction of white.
    """

    seed: int
    size: int
    dims: int
    channels: int = field()
    noise: float
    columns: tuple[str, ...] = ("sample_id", "group", "site", "drawn", "diameter")
    _cache: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    _axes: tuple[Floats, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        line = ((np.arange(self.size, dtype=np.float32) + 0.5) * 2 / self.size - 1).astype(np.float32)
        # Open grids, depth first: arithmetic broadcasts them, and most terms need one or two axes only.
        self._axes = tuple(line.reshape([-1 if axis == other else 1 for other in range(self.dims)]) for axis in range(self.dims))

    @property
    def shape(self) -> tuple[int, ...]:
        """The one shape of every image, channels first."""
        return (self.channels, *(self.size,) * self.dims)

    def read(self, *values: Any) -> NDArray[np.uint8]:
        """Draw one image.

        Args:
            *values: sample_id, group, site, drawn (bits: `CONCEPTS` in order, then the stripes) and lesion diameter in
                percent of the width.

        Returns:
            (C, H, W) or (C, D, H, W) uint8; not to be written to.
        """
        sample_id, group, site, drawn, diameter = values
        image = self._cache.get(sample_id)
        if image is None:
            image = self._draw(str(sample_id), str(group), str(site), int(drawn), float(diameter))
            if (len(self._cache) + 1) * image.nbytes <= _CACHE_BYTES:
                self._cache[sample_id] = image
        return image

    def images(self, *values: Any) -> dict[int, tuple[Any, ...]]:
        """Return the image as view 0; none where it is not said what is drawn."""
        return {} if any(map(is_missing, values)) else {0: values}

    def outlines(self, *values: Any) -> dict[str, NDArray[np.bool_]]:
        """Return where the concepts of an image lie, (H, W) or (D, H, W) each, of those that are drawn; values as for `read`.

        Border and spots are the lesion's own; a dark halo is the ring around it, with the lesion.
        """
        sample_id, group, site, drawn, diameter = values
        marks: dict[str, NDArray[np.bool_]] = {}
        self._draw(str(sample_id), str(group), str(site), int(drawn), float(diameter), marks)
        return marks

    def changed(self, *values: Any) -> NDArray[np.bool_]:
        """Return the pixels that are other than they would be without the lesion, (H, W) or (D, H, W); values as for `read`.

        The lesion as it was drawn: its soft edge, which is wider than its outline, and what comes with it, spots and halo.
        """
        sample_id, group, site, drawn, diameter = values
        look = (str(sample_id), str(group), str(site))
        with_it, without = (self._draw(*look, bits, float(diameter)) for bits in (int(drawn), int(drawn) & ~0b1111))
        return np.asarray((with_it != without).any(axis=0))

    def _draw(
        self,
        sample_id: str,
        group: str,
        site: str,
        drawn: int,
        diameter: float,
        marks: dict[str, NDArray[np.bool_]] | None = None,
    ) -> NDArray[np.uint8]:
        """Draw an image; say in `marks` where its concepts lie."""
        marks = {} if marks is None else marks
        patient, here = generator(self.seed, "patient's look", group), generator(self.seed, "image", sample_id)
        has = {name: bool(drawn >> bit & 1) for bit, name in enumerate(CONCEPTS)}
        centre, radii = patient.uniform(-0.08, 0.08, self.dims), patient.uniform(0.72, 0.88, self.dims)
        organ = _inside(1 - np.sqrt(_square_distance(self._axes, centre, radii)), 2.5 / self.size)
        grey = _BACKGROUND[site] + organ * (0.28 + 0.06 * self._texture(patient) + 0.03 * self._texture(here))
        if drawn >> STRIPES & 1:
            grey += 0.07 * np.sin(9 * (self._axes[-1] + self._axes[-2])) * (1 - organ)
        # Random numbers are taken whether or not a concept holds: a concept changes its own pixels and no others.
        course = here.uniform([0, -0.45, 0.08, 0], [np.pi, 0.45, 0.16, 2 * np.pi])
        if has["vessel"]:
            vessel = organ * self._vessel(*course)
            grey += 0.30 * vessel
            marks["vessel"] = vessel >= MARKED
        lesion = np.zeros((1,) * self.dims, dtype=np.float32)
        if has["lesion"]:
            lesion = self._lesion(here, grey, has, diameter / 100, centre, marks)
        return self._finish(grey, lesion, site, generator(self.seed, "noise", sample_id))

    def _lesion(
        self, here: np.random.Generator, grey: Floats, has: dict[str, bool], radius: float, organ: NDArray[np.float64],
        marks: dict[str, NDArray[np.bool_]],
    ) -> Floats:  # fmt: skip
        """Add the lesion to `grey`, in place, and where it lies to `marks`; return its mask, 0..1."""
        direction = here.normal(size=self.dims)
        centre = organ + direction / np.linalg.norm(direction) * here.uniform(0.05, 0.4)
        distance = np.sqrt(_square_distance(self._axes, centre, [1.0] * self.dims))
        edge = np.float32(radius)
        teeth, phase = int(here.integers(6, 9)), here.uniform(0, 2 * np.pi)
        if has["irregular border"]:
            angle = np.arctan2(self._axes[-2] - np.float32(centre[-2]), self._axes[-1] - np.float32(centre[-1]))
            edge = edge * (1 + 0.24 * np.cos(teeth * angle + np.float32(phase)))
        contrast = here.uniform(0.18, 0.34)
        mask = _inside(edge - distance, 2.0 / self.size)
        grey += contrast * mask
        marks |= {name: mask >= MARKED for name in CONCEPTS[:3] if has[name]}
        if has["dark halo"]:
            ring = _inside(edge * 1.35 + 0.03 - distance, 2.0 / self.size) - mask
            grey -= 0.22 * np.clip(ring, 0, 1)
            marks["dark halo"] = mask + ring >= MARKED
        spots = here.uniform(-0.55, 0.55, (int(here.integers(4, 7)), self.dims)) * radius + centre
        if has["bright spots"]:
            width = max(0.1 * radius, 1.6 / self.size)
            for spot in spots:
                grey += 0.45 * reduce(mul, [np.exp(-0.5 * ((a - c) / width) ** 2) for a, c in _pairs(self._axes, spot)])
        return mask

    def _vessel(self, turn: float, offset: float, bend: float, phase: float) -> Floats:
        """Return a bright curved line across the image (in 3D a tube), 0..1."""
        x, y = self._axes[-1], self._axes[-2]
        along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        line: Floats = (across - offset - bend * np.sin(5 * along + phase)).astype(np.float32)
        width = max(0.035, 1.6 / self.size)
        tube = np.exp(-0.5 * (line / width) ** 2)
        if self.dims == 3:
            tube = tube * np.exp(-0.5 * ((self._axes[0] - offset) / (2 * width)) ** 2)
        return np.asarray(tube, dtype=np.float32)

    def _texture(self, rng: np.random.Generator) -> Floats:
        """Return smooth noise of about unit spread: six waves of random direction."""
        waves = rng.normal(0, 4.0, (6, self.dims)).astype(np.float32)
        phases = rng.uniform(0, 2 * np.pi, 6).astype(np.float32)
        total = np.zeros((self.size,) * self.dims, dtype=np.float32)
        for wave, phase in zip(waves, phases, strict=True):
            # exp(i(kx + ky)) is a product of one-axis factors: cheaper than a sine of every pixel.
            factors = [*(np.exp(1j * k * a) for a, k in _pairs(self._axes, wave)), np.exp(1j * phase)]
            total += reduce(mul, [factor.astype(np.complex64) for factor in factors]).real
        return total / np.float32(np.sqrt(3))

    def _finish(self, grey: Floats, lesion: Floats, site: str, rng: np.random.Generator) -> NDArray[np.uint8]:
        gain = rng.uniform(0.85, 1.15)
        # float32 noise costs half of float64's; the south's scanner is the noisier one.
        spread = np.float32(self.noise * (1.4 if site == "south" else 1.0))
        grey = grey.astype(np.float32) * np.float32(gain) + spread * rng.standard_normal(grey.shape, dtype=np.float32)
        if self.channels == 1:
            planes = grey[None]
        else:
            planes = np.stack([grey * np.float32(t) + np.float32(r) * lesion
                               for t, r in zip(_TINT[site], _LESION_TINT, strict=True)])  # fmt: skip
        image: NDArray[np.uint8] = np.clip(planes * 255 + 0.5, 0, 255).astype(np.uint8)
        return image


def _pairs(axes: tuple[Floats, ...], values: Sequence[Any] | NDArray[Any]) -> list[tuple[Floats, np.float32]]:
    return [(axis, np.float32(value)) for axis, value in zip(axes, values, strict=True)]


def _square_distance(axes: tuple[Floats, ...], centre: NDArray[np.float64], radii: Sequence[float] | Any) -> Floats:
    total: Any = np.float32(0)
    for (axis, place), radius in zip(_pairs(axes, centre), radii, strict=True):
        total = total + ((axis - place) / np.float32(radius)) ** 2
    distance: Floats = total
    return distance


def _inside(depth: Floats, softness: float) -> Floats:
    """Return 1 where `depth` is positive, 0 where negative, with a soft edge."""
    mask: Floats = np.clip(depth / np.float32(softness) + np.float32(0.5), 0, 1)
    return mask
