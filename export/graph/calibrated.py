"""A calibrator inside the graph, behind the logits: multiplications, sums and a table look-up, no operator of its own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medzoo.evaluation.calibration.calibrator import Calibrator
from medzoo.tasks.classify import probabilities
from medzoo.tasks.deployable import Deployable, take_as

RAW = "raw_logits"
"""Output of the model's own logits, beside the calibrated `logits`."""
NOWHERE = 1e30
"""A knot that no log-odds reach: classes with fewer knots than others are filled up with it."""


class CalibratorLayer(nn.Module):
    """The torch form of a `Calibrator`: (N, K) float32 logits → (N, K) calibrated ones."""

    def __init__(self, calibrator: Calibrator) -> None:
        super().__init__()
        self.method = calibrator.method
        self.exclusive = calibrator.labels.exclusive
        self.inverse = 1 / calibrator.temperature
        width = calibrator.labels.width
        # Added to a row of all logits, it leaves out the class itself: what remains is the rest it stands against.
        self._hold("itself", np.where(np.eye(width, dtype=bool), -NOWHERE, 0.0))
        if self.method == "platt":
            self._hold("slopes", np.array(calibrator.slopes))
            self._hold("intercepts", np.array(calibrator.intercepts))
        if self.method == "isotonic":
            self._hold_segments(calibrator)

    def forward(self, logits: Tensor) -> Tensor:
        """Return calibrated logits."""
        if self.method == "temperature":
            return logits * self.inverse
        odds = logits
        if self.exclusive:
            others = logits[:, None, :] + self.itself  # type: ignore[operator]
            top = others.amax(dim=2)
            odds = logits - top - (others - top[:, :, None]).exp().sum(dim=2).log()
        if self.method == "platt":
            odds = odds * self.slopes + self.intercepts  # type: ignore[operator]
        else:
            place = (odds[:, :, None] >= self.knots).sum(dim=2) + self.first  # type: ignore[operator]
            start, value, slope = (table[place] for table in (self.starts, self.values, self.rises))  # type: ignore[index]
            odds = value + slope * (odds - start)
        # ONNX knows log(sigmoid) in two steps alone, of which the first is 0 far out.
        return odds.clamp(max=0) - (1 + (-odds.abs()).exp()).log() if self.exclusive else odds

    def _hold(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.from_numpy(np.asarray(values, np.float32)))

    def _hold_segments(self, calibrator: Calibrator) -> None:
        """Hold each class's straight pieces in one table, those below its first knot and above its last level."""
        most = max(len(x) for x, _ in calibrator.knots)
        knots = np.full((len(calibrator.knots), max(1, most)), NOWHERE)
        starts, values, rises = np.zeros((3, len(calibrator.knots), max(1, most) + 1))
        for k, (x, y) in enumerate(calibrator.knots):
            knots[k, : len(x)] = x
            if not x:  # stays as it is
                rises[k] = 1
                continue
            starts[k, 0], values[k, 0] = x[0], y[0]
            starts[k, 1 : len(x) + 1], values[k, 1 : len(x) + 1] = x, y
            rises[k, 1 : len(x)] = np.diff(y) / np.diff(x)
        for name, table in (("starts", starts), ("values", values), ("rises", rises)):
            self._hold(name, table.reshape(-1))
        self._hold("knots", knots)
        self.register_buffer("first", torch.arange(len(knots)) * (knots.shape[1] + 1))


class CalibratedGraph(nn.Module):
    """A graph whose `logits` and `probabilities` are calibrated; the model's own are its last output, `raw_logits`.

    Args:
        graph: What a task deploys: its first two outputs are `logits` and `probabilities`.
        calibrator: Of the same labels.
    """

    def __init__(self, graph: Any, calibrator: Calibrator) -> None:
        super().__init__()
        assert isinstance(graph, Deployable)
        assert graph.outputs[:2] == ("logits", "probabilities")
        assert graph.spec.labels == calibrator.labels
        self.inner: Any = graph  # `graph` is what torch.export calls its own
        self.spec = graph.spec
        self.outputs = (*graph.outputs, RAW)
        take_as(graph, self)
        self.calibrate = CalibratorLayer(calibrator)
        self.metadata = {
            **getattr(graph, "metadata", {}), "medzoo.calibrator": json.dumps(calibrator.to_dict(), ensure_ascii=False),
        }  # fmt: skip
        self.eval()

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return calibrated logits and probabilities of raw images, the graph's other outputs, and its own logits."""
        raw, _, *others = self.inner(image, *further)
        logits = self.calibrate(raw)
        return logits, probabilities(logits, self.spec.label_space), *others, raw
