"""What may happen to a training image, by modality.

A policy is a random crop box, then transforms at the resulting size, in albumentations' words; `medzoo.data.samples.augment`
applies it. What a policy leaves out matters as much as what it does: every one says why in `reason`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medzoo.data.errors import ConfigError

_BLACK, _MIRROR = 0, 4  # cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101


@dataclass(frozen=True)
class Transform:
    """One transform.

    Attributes:
        name: Its class name in its library.
        arguments: Its arguments there.
        library: Which one runs it, `albumentations` or `torchvision`. None, of medzoo's own policies: named as in
            albumentations, and run by what `trainer.augmenter` says.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    library: str | None = None


@dataclass(frozen=True)
class Policy:
    """What may happen to a training image.

    Attributes:
        reason: Why these transforms suit the modality, and why others are left out.
        scale: Smallest and largest share of the image's area that the crop box keeps, in (0, 1].
        ratio: Smallest and largest change of the box's width:height relative to the image's own; (1, 1) keeps it.
        transforms: What follows the crop, in order.
    """

    reason: str
    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        for name, top in (("scale", 1.0), ("ratio", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= top:
                limit = "0 < low <= high <= 1" if name == "scale" else "0 < low <= high"
                raise ConfigError(f"augmentation: the crop's {name} {[low, high]} is not {limit}")

    @property
    def crops(self) -> bool:
        """Whether the crop box is ever less than the whole image."""
        return self.scale != (1.0, 1.0) or self.ratio != (1.0, 1.0)


def _affine(degrees: float, shift: float, border: int) -> Transform:
    arguments = {"rotate": (-degrees, degrees), "translate_percent": (-shift, shift), "border_mode": border, "p": 0.7}
    return Transform("Affine", arguments)


def _light(limit: float) -> Transform:
    return Transform("RandomBrightnessContrast", {"brightness_limit": limit, "contrast_limit": limit, "p": 0.5})


def _colour(light: float, saturation: float, hue: float) -> Transform:
    ranges = {"brightness": light, "contrast": light, "saturation": saturation, "hue": hue}
    return Transform("ColorJitter", {**ranges, "p": 0.7})


_MIRRORED = Transform("HorizontalFlip", {"p": 0.5})
_UPSIDE_DOWN = Transform("VerticalFlip", {"p": 0.5})
_QUARTER_TURNS = Transform("RandomRotate90", {"p": 0.75})

POLICIES: dict[str, Policy] = {
    "none": Policy("No augmentation: every epoch sees the image as evaluation does."),
    "xray": Policy(
        "Patients stand a little turned, shifted and nearer or farther; exposure varies. Never flipped: the heart's "
        "side, the gastric bubble and the side marker are findings (situs inversus). Small crops would cut off the "
        "costophrenic angles and apices. A film has no colour to change.",
        scale=(0.8, 1.0),
        ratio=(0.9, 1.1),
        transforms=(_affine(10, 0.05, _BLACK), _light(0.15)),
    ),
    "skin": Policy(
        "A lesion has no upright: flips and turns are free; borders are mirrored, for skin goes on beyond the frame. "
        "Light and saturation vary with camera and lamp; hue is held to 0.03, for colour (and skin tone) is "
        "diagnostic.",
        scale=(0.6, 1.0),
        ratio=(0.8, 1.25),
        transforms=(_MIRRORED, _UPSIDE_DOWN, _affine(45, 0.05, _MIRROR), _colour(0.2, 0.2, 0.03)),
    ),
    "fundus": Policy(
        "A mirrored fundus is one of the other eye, and indirect ophthalmoscopy and some cameras deliver it upside "
        "down, so both flips are real images. Beyond the field it is black. The crop keeps 0.8: small haemorrhages "
        "lie at the rim, and a lesion's size against the disc is graded. Hue is held to 0.02: red and yellow lesions "
        "differ by it.",
        scale=(0.8, 1.0),
        ratio=(0.9, 1.1),
        transforms=(_MIRRORED, _UPSIDE_DOWN, _affine(30, 0.03, _BLACK), _colour(0.2, 0.15, 0.02)),
    ),
    "oct": Policy(
        "A mirrored B-scan is one of the other eye. Never upside down: the order of the retinal layers is anatomy. "
        "The retina tilts by a few degrees within a scan. Gain varies; there is no colour.",
        scale=(0.8, 1.0),
        ratio=(0.9, 1.1),
        transforms=(_MIRRORED, _affine(5, 0.05, _BLACK), _light(0.15)),
    ),
    "histology": Policy(
        "A section lies any way round on the glass: flips and exact quarter turns, which need no interpolation. Stain "
        "varies between laboratories, the main reason such models fail elsewhere, hence the strongest colour change "
        "here (Tellez et al. 2019, Medical Image Analysis 58).",
        scale=(0.7, 1.0),
        ratio=(0.9, 1.1),
        transforms=(_MIRRORED, _UPSIDE_DOWN, _QUARTER_TURNS, _colour(0.2, 0.2, 0.05)),
    ),
    "microscopy": Policy(
        "Cells have no upright: flips and exact quarter turns. Size tells cell kinds apart, so the crop keeps 0.8; "
        "stain colour tells blood cells apart, so hue is held to 0.02.",
        scale=(0.8, 1.0),
        ratio=(0.9, 1.1),
        transforms=(_MIRRORED, _UPSIDE_DOWN, _QUARTER_TURNS, _colour(0.15, 0.1, 0.02)),
    ),
    "ultrasound": Policy(
        "The probe may be held either way round: mirrored. Never upside down: skin is at the top, and shadow or "
        "enhancement lies below a lesion and tells a cyst from a tumour. Proportions hardly change: taller than wide "
        "is a sign of cancer.",
        scale=(0.8, 1.0),
        ratio=(0.95, 1.05),
        transforms=(_MIRRORED, _affine(5, 0.05, _BLACK), _light(0.2)),
    ),
    "ct": Policy(
        "Never flipped: liver, spleen, and left and right of paired organs are told apart by their side. Hounsfield "
        "units are calibrated, so brightness changes little.",
        scale=(0.85, 1.0),
        ratio=(0.95, 1.05),
        transforms=(_affine(10, 0.05, _BLACK), _light(0.1)),
    ),
    "mri": Policy(
        "Never flipped: side is a finding. Intensities have no fixed scale between scanners, so gamma varies as well.",
        scale=(0.85, 1.0),
        ratio=(0.95, 1.05),
        transforms=(_affine(10, 0.05, _BLACK), _light(0.15), Transform("RandomGamma", {"gamma_limit": (80, 120), "p": 0.3})),
    ),
    "volume": Policy(
        "In plane, the same for every slice, so that the anatomy stays joined; depth is left alone, for its spacing "
        "differs from the plane's. Never flipped: organs are told apart by their side.",
        scale=(0.85, 1.0),
        ratio=(0.95, 1.05),
        transforms=(_affine(10, 0.05, _BLACK), _light(0.1)),
    ),
    "synthetic": Policy(
        "Small changes only: in a drawn image place, size and brightness may be what the label says. Never flipped.",
        scale=(0.9, 1.0),
        ratio=(0.95, 1.05),
        transforms=(_affine(5, 0.03, _BLACK), _light(0.05)),
    ),
}
