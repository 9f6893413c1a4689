"""Settings of a bottleneck of prototypes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PrototypesConfig:
    """The prototypes of each concept, and the loss that they are learnt by; see docs/concepts.md.

    Temperatures and margin are those of SoftTriple (Qian et al. 2019: λ = 20, γ = 0.1, δ = 0.01), whose loss it is.

    Attributes:
        count: Prototypes a concept.
        width: Numbers of a prototype, and of the space that features are projected into.
        weight: Of the contrastive loss beside that of the concepts.
        temperature: What similarities to the concepts are divided by.
        assignment: What cosines are divided by where a concept's prototypes are weighed.
        margin: By how much a vector's own concept has to be nearer than the others.
    """

    count: int = 10
    width: int = 128
    weight: float = 1.0
    temperature: float = 0.05
    assignment: float = 0.1
    margin: float = 0.01
