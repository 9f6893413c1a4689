"""How much each severity is of a corruption, by what the images are.

`MEDMNIST_C` holds the numbers of MedMNIST-C (Di Salvo, Doerrich and Ledig 2024, arXiv 2406.17536; Apache-2.0), as they stand in
`medmnistc/corruptions/registry.py`, with what medzoo implements of them. They were chosen for images of 224 pixels a side:
lengths (a kernel's width, a blur's radius) are scaled with an image's shorter side. `OWN` holds medzoo's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Five = tuple[Any, Any, Any, Any, Any]

REFERENCE_SIDE = 224
"""Pixels of the shorter side for which lengths hold."""

_QUALITY = (50, 30, 15, 10, 7)
_UP, _DOWN = (1.1, 1.2, 1.3, 1.4, 1.5), (0.9, 0.8, 0.7, 0.6, 0.5)
_FLAT, _STEEP = (0.9, 0.8, 0.7, 0.6, 0.4), (1.1, 1.2, 1.3, 1.4, 1.6)
_COARSE = (0.30, 0.25, 0.20, 0.15, 0.10)

MEDMNIST_C: Mapping[str, Mapping[str, Five]] = {
    "chestmnist": {
        "gaussian_noise": (0.04, 0.08, 0.12, 0.18, 0.26),
        "speckle_noise": (0.05, 0.15, 0.2, 0.35, 0.45),
        "shot_noise": (60, 25, 18, 10, 5),
        "gaussian_blur": (3, 5, 7, 9, 11),  # a sixth, 13, is never used there either
        "brightness_up": _UP,
        "brightness_down": _DOWN,
        "contrast_up": _STEEP,
        "contrast_down": _FLAT,
        "gamma_up": _STEEP,
        "gamma_down": _FLAT,
        "jpeg": _QUALITY,
        "pixelate": _COARSE,
    },
    "dermamnist": {
        "gaussian_noise": (0.04, 0.08, 0.12, 0.18, 0.26),
        "speckle_noise": (0.05, 0.15, 0.2, 0.35, 0.45),
        "shot_noise": (60, 25, 18, 10, 5),
        "motion_blur": ((10, 5), (15, 5), (15, 8), (15, 12), (20, 15)),
        "brightness_up": _UP,
        "brightness_down": _DOWN,
        "contrast_up": _STEEP,
        "contrast_down": (0.8, 0.7, 0.6, 0.5, 0.4),
        "jpeg": (30, 20, 15, 10, 7),
        "pixelate": (0.7, 0.5, 0.40, 0.30, 0.25),
        "black_corner": (1.10, 1.05, 1.00, 0.95, 0.90),  # there the last two are the other way round
    },
    "retinamnist": {
        "gaussian_noise": (0.04, 0.08, 0.12, 0.16, 0.20),
        "speckle_noise": (0.10, 0.15, 0.20, 0.25, 0.30),
        "motion_blur": ((8, 5), (15, 5), (15, 8), (15, 12), (20, 15)),
        "brightness_down": _DOWN,
        "contrast_down": _FLAT,
        "jpeg": (30, 25, 20, 10, 5),
        "pixelate": (0.8, 0.60, 0.50, 0.40, 0.35),
    },
    "octmnist": {
        "speckle_noise": (0.15, 0.30, 0.40, 0.50, 0.60),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "contrast_down": (0.6, 0.4, 0.3, 0.2, 0.15),
        "jpeg": (30, 15, 10, 7, 5),
        "pixelate": _COARSE,
    },
    "breastmnist": {
        "speckle_noise": (0.10, 0.15, 0.20, 0.25, 0.30),
        "motion_blur": ((5, 5), (9, 7), (9, 10), (13, 10), (17, 12)),
        "brightness_up": (1.4, 1.5, 1.6, 1.8, 2.0),
        "brightness_down": (0.55, 0.5, 0.45, 0.4, 0.3),
        "contrast_down": _FLAT,
        "jpeg": _QUALITY,
        "pixelate": _COARSE,
    },
    "pathmnist": {
        "motion_blur": ((5, 5), (10, 5), (15, 5), (15, 8), (15, 12)),
        "brightness_up": (1.1, 1.15, 1.2, 1.22, 1.25),
        "brightness_down": (0.85, 0.80, 0.75, 0.72, 0.70),
        "contrast_up": _STEEP,
        "contrast_down": (0.8, 0.7, 0.6, 0.55, 0.5),
        "jpeg": _QUALITY,
        "pixelate": (0.8, 0.6, 0.40, 0.30, 0.25),
    },
    "bloodmnist": {
        "motion_blur": ((3, 3), (5, 5), (10, 5), (10, 7), (10, 9)),
        "brightness_up": (1.1, 1.2, 1.3, 1.35, 1.4),
        "brightness_down": _DOWN,
        "contrast_up": (1.1, 1.15, 1.2, 1.25, 1.3),
        "contrast_down": _DOWN,
        "jpeg": _QUALITY,
        "pixelate": (0.6, 0.5, 0.40, 0.30, 0.25),
    },
    "organamnist": {
        "gaussian_noise": (0.04, 0.08, 0.12, 0.16, 0.20),
        "speckle_noise": (0.05, 0.10, 0.20, 0.30, 0.40),
        "shot_noise": (200, 100, 50, 25, 15),
        "gaussian_blur": (11, 13, 15, 17, 21),
        "brightness_up": (1.2, 1.3, 1.4, 1.5, 1.6),
        "brightness_down": (0.8, 0.75, 0.7, 0.65, 0.60),
        "contrast_up": (1.3, 1.4, 1.6, 1.7, 1.8),
        "contrast_down": (0.8, 0.7, 0.6, 0.55, 0.5),
        "gamma_up": (1.3, 1.4, 1.6, 1.8, 2.0),
        "gamma_down": _FLAT,
        "jpeg": _QUALITY,
        "pixelate": (0.7, 0.6, 0.5, 0.40, 0.35),
    },
}

OWN: Mapping[str, Five] = {
    "vignette": (0.2, 0.35, 0.5, 0.65, 0.8),
    "hair": (4, 8, 16, 28, 45),
    "ruler_marks": (0.06, 0.10, 0.14, 0.18, 0.24),
    "stain_shift": (0.05, 0.10, 0.15, 0.20, 0.25),  # to 0.2 is HED-strong of Tellez et al. 2019 (Medical Image Analysis 58)
    # Of TorchIO 1.2, up to what its random transforms draw by default; of a spike, whose default breaks any image, far less.
    "volume_motion": ((1, 0.005), (2, 0.01), (4, 0.02), (7, 0.035), (10, 0.05)),
    "volume_ghosting": (0.2, 0.4, 0.6, 0.8, 1.0),
    "volume_spike": (0.05, 0.10, 0.20, 0.35, 0.50),
    "volume_bias_field": (0.1, 0.2, 0.3, 0.4, 0.5),
}

SET_OF = {
    "xray": "chestmnist", "skin": "dermamnist", "fundus": "retinamnist", "oct": "octmnist", "histology": "pathmnist",
    "microscopy": "bloodmnist", "ultrasound": "breastmnist", "ct": "organamnist",
    # MedMNIST-C has none of these; which set stands for them is medzoo's own choice.
    "mri": "organamnist", "volume": "organamnist", "synthetic": "chestmnist", "none": "chestmnist",
}  # fmt: skip
"""What the images are → the set of MedMNIST-C whose numbers they get."""

FURTHER: Mapping[str, tuple[str, ...]] = {
    "skin": ("vignette", "hair", "ruler_marks"),
    "fundus": ("black_corner", "vignette"),
    "histology": ("stain_shift",),
    "microscopy": ("stain_shift",),
}
"""What `auto` adds, by what the images are."""
OF_VOLUMES = ("volume_motion", "volume_ghosting", "volume_spike", "volume_bias_field")


def amounts_of(name: str, modality: str) -> tuple[Five, str]:
    """Return a corruption's five amounts for a modality, and where they are from.

    A number that MedMNIST-C does not have for a modality is the first that it has for another one, and is said to be.
    """
    own_set = SET_OF.get(modality, "chestmnist")
    if name in MEDMNIST_C[own_set]:
        return MEDMNIST_C[own_set][name], f"MedMNIST-C, {own_set}"
    if name in OWN:
        return OWN[name], "medzoo's own"
    other = next(title for title, numbers in MEDMNIST_C.items() if name in numbers)
    return MEDMNIST_C[other][name], f"MedMNIST-C, {other} (it has none for {own_set})"
