"""The calibrator in the graph says what the calibrator says in NumPy, for every method and kind of labels, far out as well."""

from __future__ import annotations

from typing import get_args

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from medzoo.data.labels import LabelKind, LabelSpace, sigmoid
from medzoo.evaluation.calibration.calibrator import METHODS, Calibrator
from medzoo.evaluation.calibration.fit import fit_calibrator
from medzoo.export.graph.calibrated import CalibratorLayer
from medzoo.tasks.classify import probabilities


def fitted(method: str, kind: LabelKind, width: int) -> tuple[Calibrator, np.ndarray]:
    """Return a calibrator, of findings with one that stays as it is, and logits from ordinary to saturated."""
    rng = np.random.default_rng(width)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))
    logits = rng.normal(0.5, 3, (400, width)).astype(np.float32)
    if kind == "multilabel":
        targets = (rng.random(logits.shape) < sigmoid(0.5 * logits)).astype(np.float32)
        targets[:, -1] = 0
    else:
        targets = labels.one_hot((0.5 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1))
    calibrator, _ = fit_calibrator(method, labels, targets, logits)
    knots = np.array([*(x for places, _ in calibrator.knots[:1] for x in places)], np.float32)  # a value on every knot
    on_knots = np.repeat(knots[:, None], width, axis=1)
    return calibrator, np.concatenate([logits, logits * 30, on_knots, np.zeros((1, width), np.float32)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kind", "width"), [("multiclass", 2), ("multiclass", 5), ("ordinal", 3), ("multilabel", 4)])
def test_onnx_probabilities_are_numpys(method: str, kind: LabelKind, width: int) -> None:
    assert kind in get_args(LabelKind)
    calibrator, logits = fitted(method, kind, width)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = CalibratorLayer(calibrator)

        def forward(self, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = self.layer(raw)
            return found, probabilities(found, calibrator.labels)

    program = torch.onnx.export(
        Whole().eval(), (torch.from_numpy(logits[:3]),), dynamo=True, opset_version=20, input_names=["raw"], verbose=False,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), output_names=["logits", "probabilities"],
    )  # fmt: skip
    assert program is not None
    assert {node.domain for node in program.model_proto.graph.node} <= {"", "ai.onnx"}
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found, shares = session.run(None, {"raw": logits})
    assert np.isfinite(found).all()
    np.testing.assert_allclose(shares, calibrator.probabilities(logits), atol=1e-5)
    np.testing.assert_allclose(found, calibrator.logits(logits), rtol=1e-4, atol=1e-4)
