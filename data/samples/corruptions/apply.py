"""A corruption by its name, on an image as its reader gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.samples.corruptions import artefacts, blur, digital, noise, tone, volumes
from medzoo.data.samples.corruptions.amounts import amounts_of
from medzoo.data.seeding import generator

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """What is done to an image.

    Attributes:
        run: (C, D, H, W) float32 in 0..1, an amount and a generator → the same shape, of any range.
        needs: What it is not defined without: three colour channels, or a volume.
        gray: Whether it is of gray and colours alone: of other numbers of channels each is changed as a gray image.
    """

    run: Callable[[Any, Any, np.random.Generator], NDArray[Any]]
    needs: Literal["", "colour", "volume"] = ""
    gray: bool = False


CORRUPTIONS: Mapping[str, Corruption] = {
    "gaussian_noise": Corruption(noise.gaussian_noise),
    "shot_noise": Corruption(noise.shot_noise),
    "speckle_noise": Corruption(noise.speckle_noise),
    "gaussian_blur": Corruption(blur.gaussian_blur),
    "motion_blur": Corruption(blur.motion_blur),
    "brightness_up": Corruption(tone.brightness, gray=True),
    "brightness_down": Corruption(tone.brightness, gray=True),
    "contrast_up": Corruption(tone.contrast, gray=True),
    "contrast_down": Corruption(tone.contrast, gray=True),
    "gamma_up": Corruption(tone.gamma, gray=True),
    "gamma_down": Corruption(tone.gamma, gray=True),
    "jpeg": Corruption(digital.jpeg, gray=True),
    "pixelate": Corruption(digital.pixelate),
    "black_corner": Corruption(artefacts.black_corner),
    "vignette": Corruption(artefacts.vignette),
    "hair": Corruption(artefacts.hair),
    "ruler_marks": Corruption(artefacts.ruler_marks),
    "stain_shift": Corruption(artefacts.stain_shift, needs="colour"),
    "volume_motion": Corruption(volumes.motion, needs="volume"),
    "volume_ghosting": Corruption(volumes.ghosting, needs="volume"),
    "volume_spike": Corruption(volumes.spike, needs="volume"),
    "volume_bias_field": Corruption(volumes.bias_field, needs="volume"),
}


def corrupt(
    pixels: NDArray[Any], name: str, severity: int, *, modality: str, seed: int, sample: str, planes: bool = False
) -> NDArray[Any]:
    """Return an image with something wrong with it; of severity 0 the image itself.

    Args:
        pixels: (C, H, W) or (C, D, H, W), uint8 or float32 in 0..1; alpha, the last of two or four channels, stays as it is.
        name: One of `CORRUPTIONS`.
        severity: 0 to 5.
        modality: What the images are, which says how much a severity is.
        seed: Of what is drawn.
        sample: What the image is called: with the seed and the name, and with nothing else, it says what is drawn. The same is
            drawn for every severity.
        planes: The channels are planes of which none is alpha.

    Raises:
        ConfigError: If the severity is none.
        ImageError: If the corruption is not defined for such an image.
    """
    if severity not in (0, *SEVERITIES):
        raise ConfigError(f"severity {severity} is not one of 0 to {SEVERITIES[-1]} (0: none)")
    if severity == 0:
        return pixels
    kind = CORRUPTIONS[name]
    colours = pixels.shape[0] - (not planes and pixels.shape[0] in (2, 4))
    if lacking := why_not(name, colours, pixels.ndim == 4):
        raise ImageError(f"{sample}: {lacking}")
    whole = pixels if pixels.ndim == 4 else pixels[:, None]
    levels = whole[:colours].astype(np.float32)
    levels = levels / np.float32(255) if pixels.dtype == np.uint8 else levels
    amount = amounts_of(name, modality)[0][severity - 1]
    parts = np.split(levels, colours) if kind.gray and colours not in (1, 3) else [levels]
    changed = np.concatenate([kind.run(part, amount, generator(seed, "corruption", name, sample)) for part in parts])
    changed = np.clip(changed, 0, 1)
    of_type = np.floor(changed * 255 + 0.5) if pixels.dtype == np.uint8 else changed
    found = np.concatenate([of_type.astype(pixels.dtype), whole[colours:]])
    return found.reshape(pixels.shape)


def why_not(name: str, colours: int, volume: bool) -> str:
    """Return why a corruption is not defined for images of so many colour channels; empty where it is."""
    needs = CORRUPTIONS[name].needs
    if needs == "colour" and colours != 3:
        return f"{name} changes stains, which a gray image does not show"
    return f"{name} is of volumes, and this is an image" if needs == "volume" and not volume else ""
