"""Settings of pre-training without labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SslConfig:
    """What a network learns by without labels; see docs/pretraining.md.

    Attributes:
        objective: simclr, dino, mae or spark.
        augment: What two views of an image differ by: `auto` (the modality's policy), a list of transforms, or a policy's name.
        scale: Smallest and largest share of an image's area that a view keeps; of a policy by name.
        hidden: Width within the projector of simclr and dino.
        outputs: Of the projector; None: 128 of simclr, 1024 of dino.
        temperature: What similarities, or the student's outputs, are divided by; None: 0.2 of simclr, 0.1 of dino.
        momentum: Of dino's teacher: how much of it stays at each step.
        crops: How many small crops of an image dino's student sees beside its two views.
        crop_scale: Smallest and largest share of the image's area that a crop keeps.
        masked: Share of patches that mae and spark hide; None: 0.75 of mae, 0.6 of spark.
        decoder: Width and depth of the decoder of mae, or its width at the last map and convolutions a level of spark; None:
            [128, 2] of mae, [512, 2] of spark.
    """

    objective: str = "simclr"
    augment: Any = "auto"
    scale: list[float] = field(default_factory=lambda: [0.2, 1.0])
    hidden: int = 512
    outputs: int | None = None
    temperature: float | None = None
    momentum: float = 0.99
    crops: int = 0
    crop_scale: list[float] = field(default_factory=lambda: [0.05, 0.4])
    masked: float | None = None
    decoder: list[int] | None = None
