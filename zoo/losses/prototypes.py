"""The contrastive loss of several prototypes a concept: an image's evidence of a concept lies near the concept's own prototypes.

Concept-based similarity reasoning (Huy et al. 2025, CVPR, arXiv 2503.06873) learns its prototypes by contrast between concepts;
the form is that of SoftTriple (Qian et al. 2019, ICCV, arXiv 1909.05235), a concept in the place of a class.
"""

from __future__ import annotations

import torch
from torch import Tensor


def prototype_contrast(
    vectors: Tensor, prototypes: Tensor, concepts: Tensor, *, temperature: float = 0.05, assignment: float = 0.1,
    margin: float = 0.01
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Contrast the local vectors of the concepts that an image has with the prototypes of all concepts.

    A vector's similarity to a concept is the mean of its cosines with the concept's prototypes, near ones weighing more:
    softmax(cosine / assignment). Cross-entropy then tells the vector's own concept, whose similarity is less the margin, from
    the others.

    Args:
        vectors: (N, M, D) unit vectors, one a concept of each image.
        prototypes: (M, P, D) unit vectors.
        concepts: (N, M) truth in 0..1, NaN where missing; a vector counts where its concept is there (above 0.5).
        temperature: What similarities are divided by (1 / λ of SoftTriple).
        assignment: What cosines are divided by where prototypes are weighed (γ).
        margin: By how much the own concept has to be nearer (δ).

    Returns:
        The mean over vectors that count, 0 where none does, and their number.
    """
    with torch.autocast(vectors.device.type, enabled=False):  # bf16 tells cosines apart by 0.004, which temperatures enlarge
        exact = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (vectors, prototypes))
        cosines = torch.einsum("nkd,jpd->nkjp", *exact)
    near = (cosines * (cosines / assignment).softmax(dim=3)).sum(dim=3)
    own = torch.eye(len(prototypes), device=near.device, dtype=near.dtype)
    each = -((near - margin * own) / temperature).log_softmax(dim=2).diagonal(dim1=1, dim2=2)
    there = (concepts > 0.5).to(each.dtype)  # NaN is not
    count = there.sum()
    return (each * there).sum() / count.clamp_min(1), count
