"""What a reduced graph turns at the operating points: counted on the validation images, class by class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from medzoo.data.labels import LabelSpace, log_odds
from medzoo.data.operating_points import OperatingPoint, OperatingPoints
from medzoo.export.graph.onnx_file import ProvenGraph
from medzoo.export.precision.judges import ImageJudge
from medzoo.export.precision.validation import Images, Validation
from medzoo.export.settings import GateConfig
from tests.export.handmade import CLASSES, build, expected_logits

LABELS = LabelSpace("multiclass", CLASSES)
PIXELS = [np.random.default_rng(i).integers(0, 256, (4, 4, 3), dtype=np.uint8) for i in range(40)]


def test_calls_that_turn_are_counted() -> None:
    odds = log_odds(expected_logits(PIXELS), LABELS)
    targets = np.eye(2, dtype=np.float32)[(odds[:, 1] > np.median(odds[:, 1])).astype(int)]
    samples: Any = SimpleNamespace(pixels=lambda place: PIXELS[place], beside=lambda place: {})
    validation = Validation(Images(samples, np.arange(40)), [str(i) for i in range(40)], targets)
    graph: Any = SimpleNamespace(spec=SimpleNamespace(labels=LABELS, targets={}))
    judge = ImageJudge(ProvenGraph(graph, build(), {}), validation, GateConfig(replicates=0))
    threshold = float(np.quantile(odds[:, 1], 0.9)) * 0.999
    points = OperatingPoints(
        LABELS,
        (
            OperatingPoint("youden", (None, threshold), ("x", ""), ({}, {})),
            OperatingPoint("far", (100.0, 100.0), ("", ""), ({}, {})),
        ),
    )
    # Twice the logits are twice the log-odds of two classes.
    turned = int(((odds[:, 1] >= threshold) != (2 * odds[:, 1] >= threshold)).sum())
    assert turned > 0
    expected = {"youden": {"changed": turned, "of": 40}, "far": {"changed": 0, "of": 80}}
    assert judge.changed_calls(build(scale=2.0), points) == expected
    assert judge.changed_calls(build(), points)["youden"]["changed"] == 0
