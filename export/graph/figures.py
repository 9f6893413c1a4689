"""What a graph's proof measures, in numbers; needs no torch, so that an exported file's own proof can be shown without it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

TOLERANCE = 1e-3
"""Largest difference of a logit, in standard deviations of that model's logits over the compared images."""
FLOOR = 1e-3
"""Least spread that outputs are taken to have, as a share of their largest."""
COSINE = 0.9999
"""Smallest cosine between an embedding of torch's and the graph's."""


@dataclass(frozen=True)
class Parity:
    """What was compared and how close it was.

    Attributes:
        images: Distinct images (texts) that were really compared.
        sizes: (H, W) or (D, H, W) of the inputs compared.
        batches: Batch sizes compared.
        largest: Largest absolute difference of a logit.
        spread: Standard deviation of torch's logits.
        relative: Largest difference in spreads, for regression column by column.
        agreement: Share of samples with the same top logit, or with a top that torch itself holds for a tie.
        cosine: Smallest cosine between an embedding of torch's and the graph's; None for logits.
    """

    images: int
    sizes: tuple[tuple[int, ...], ...]
    batches: tuple[int, ...]
    largest: float
    spread: float
    relative: float
    agreement: float
    cosine: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures."""
        return asdict(self)
