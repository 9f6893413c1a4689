"""From logits to what they mean, without torch: for one image, and for a case of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace, probabilities


def mean_of_cases(logits: NDArray[Any], lengths: Sequence[int], labels: LabelSpace) -> dict[str, NDArray[Any]]:
    """Average the logits of each case's images, as training does.

    Args:
        logits: (sum of lengths, K), case after case.
        lengths: Images of each case, at least 1.
        labels: What the columns mean.

    Returns:
        `logits` and `probabilities`, (len(lengths), K).
    """
    starts = np.cumsum([0, *lengths])[:-1]
    mean = np.add.reduceat(logits, starts, axis=0) / np.array(lengths, dtype=np.float32)[:, None] if lengths else logits
    return {"logits": mean, "probabilities": probabilities(mean, labels)}


def mean_of_concepts(concepts: NDArray[Any], lengths: Sequence[int]) -> NDArray[np.float32]:
    """Average predicted concepts over each case's images, as logits, as training does; for `lengths` see `mean_of_cases`.

    (sum of lengths, M) probabilities, case after case → (len(lengths), M) probabilities.
    """
    shares = np.clip(concepts.astype(np.float64), 1e-12, 1 - 1e-7)  # float32 has no share between 1 - 6e-8 and 1
    starts = np.cumsum([0, *lengths])[:-1]
    mean = np.add.reduceat(np.log(shares / (1 - shares)), starts, axis=0) / np.array(lengths)[:, None]
    return np.asarray(1 / (1 + np.exp(-mean)), np.float32)
