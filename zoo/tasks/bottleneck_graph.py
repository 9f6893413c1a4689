"""A concept bottleneck as it is exported."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from medzoo.data.regions.evidence import CHOSEN, PLACES, REGION
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.losses.objective import Objective
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.places import PlacedHead
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import in_units, probabilities
from medzoo.tasks.places_left import PlacesLeft

BLANK = 8
"""Pixels a side of the region that stands in the file for none: of any size, since nothing is taken away."""


class BottleneckGraph(nn.Module):
    """The deployable form: raw image, and where a person corrects concepts their values and a mask.

    Outputs `logits`, `probabilities` (N, K) and `concepts` (N, M), the predicted concepts in 0..1 before any correction; with
    `evidence` also `map` (N, M, *grid), what each place says of each concept. A person may then also take a region of the image
    away from concepts, which follow from the places that are left: no number (NaN) where none is.
    """

    def __init__(self, spec: ModelSpec, model: BottleneckNetwork, evidence: PlacedHead | None = None) -> None:
        super().__init__()
        self.outputs = ("logits", "probabilities", "concepts", *(() if evidence is None else ("map",)))
        self.evidence = evidence
        self.spec = spec
        self.model = model
        self.objective = Objective.from_dict(spec.objective["classes"])
        width = len(spec.objective["concepts"])
        # Nothing is corrected unless a person says so.
        self.optional_inputs = {name: torch.zeros(1, width) for name in ("concept_values", "concept_mask")}
        self.left: PlacesLeft | None = None
        if evidence is not None and math.prod(evidence.grid) > 1:  # of one place nothing could be left
            self.left = PlacesLeft(spec.preprocess, evidence.grid)
            self.optional_inputs |= {
                REGION: torch.zeros(1, *[BLANK] * len(evidence.grid), 1, dtype=torch.uint8),
                CHOSEN: torch.zeros(1, width),
                PLACES: torch.zeros(1, width, *evidence.grid),
            }
        self.eval()

    def forward(
        self, image: Tensor, concept_values: Tensor, concept_mask: Tensor, region: Tensor | None = None,
        region_mask: Tensor | None = None, region_places: Tensor | None = None
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return class outputs and concepts of (N, [D,] H, W, C) raw images; corrections are (N, M) or (1, M) float32.

        With `evidence` the last three say what is taken away; see `PlacesLeft`.
        """
        values = normalise(fit(image.movedim(-1, 1), self.spec.preprocess), self.spec.preprocess)
        maps: tuple[Tensor, ...] = ()
        if self.evidence is None:
            concept_logits, features = self.model.concepts_and_features(values)
        else:
            places = self.evidence.features(values)
            maps = (self.evidence.maps(places),)
            counts = None
            concept_logits = maps[0].flatten(2).mean(dim=2) + self.evidence.bias
            if self.left is not None:
                assert region is not None
                assert region_mask is not None
                assert region_places is not None
                counts = self.left(region, region_mask, region_places)
                concept_logits = self.evidence.said_of(maps[0], counts)
            features = self.model.beside(places, counts)
        outputs = in_units(self.model.classes(concept_logits, features, concept_values, concept_mask), self.objective)
        return outputs, probabilities(outputs, self.spec.label_space), self.model.values(concept_logits), *maps
