"""Prediction sets inside the graph: a comparison with thresholds, or a constant on either side of a value."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medzoo.evaluation.calibration.conformal import Conformal
from medzoo.tasks.deployable import Deployable, take_as

SET, INTERVAL = "prediction_set", "prediction_interval"
"""Names of the output, boolean (N, K), and of quantities float32 (N, K, 2)."""


class PredictionSetGraph(nn.Module):
    """A graph with one output more, its last: `prediction_set`, or `prediction_interval` of quantities.

    Args:
        graph: What a task deploys, calibrated or not: its first two outputs are `logits` and `probabilities`.
        conformal: Thresholds of these probabilities; every quantity has an interval.
    """

    def __init__(self, graph: Any, conformal: Conformal) -> None:
        super().__init__()
        assert isinstance(graph, Deployable)
        assert graph.outputs[:2] == ("logits", "probabilities")
        assert graph.spec.labels == conformal.labels
        self.inner: Any = graph  # `graph` is what torch.export calls its own
        self.spec = graph.spec
        self.quantity = conformal.labels.kind == "regression"
        self.outputs = (*graph.outputs, INTERVAL if self.quantity else SET)
        take_as(graph, self)
        limits = np.array(conformal.widths if self.quantity else conformal.thresholds, np.float32)
        self.register_buffer("limits", torch.from_numpy(limits))
        self.metadata = {
            **getattr(graph, "metadata", {}), "medzoo.conformal": json.dumps(conformal.to_dict(), ensure_ascii=False),
        }  # fmt: skip
        self.eval()

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return the graph's own outputs for raw images, and the sets."""
        outputs = self.inner(image, *further)
        if self.quantity:
            values = outputs[1]
            return *outputs, torch.stack([values - self.limits, values + self.limits], dim=2)  # type: ignore[operator]
        return *outputs, outputs[1] >= self.limits
