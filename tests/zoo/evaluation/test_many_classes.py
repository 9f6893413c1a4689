"""What a terminal says of very many classes: those that are lowest, and how many there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report


@pytest.mark.parametrize(("width", "lines"), [(25, 25), (200, 26)])
def test_a_terminal_lists_the_lowest_of_very_many_classes(width: int, lines: int) -> None:
    rng = np.random.default_rng(0)
    labels = LabelSpace("multilabel", tuple(f"finding {k:03d}" for k in range(width)))
    targets = rng.integers(0, 2, (80, width)).astype(np.float32)
    targets[:, :20] = 1  # undefined
    logits = rng.normal(size=(80, width)).astype(np.float32)
    names = np.array([f"s{i}" for i in range(80)], object)
    split = np.array(["test"] * 80, object)
    said = Predictions(labels, names, split, names, targets, logits, 1 / (1 + np.exp(-logits)), pd.DataFrame(index=range(80)))
    report = evaluate(said, splits=["test"], interval=Interval(0))
    text = format_report(report, "test").splitlines()
    start = next(k for k, line in enumerate(text) if line.startswith("  auroc"))
    assert "(without finding 000, finding 001, finding 002, finding 003, finding 004 and 15 more: undefined)" in text[start]
    listed = [line for line in text[start + 1 :] if line.startswith("    ")][:lines]
    assert not text[start + 1 + lines].startswith("    ")
    classes = report["splits"]["test"]["metrics"]["auroc"]["classes"]
    if width == 25:
        assert [line.split("  ")[2] for line in listed] == list(classes)
        return
    known = sorted((metric["value"], name) for name, metric in classes.items() if metric["value"] is not None)
    assert [line[4:15] for line in listed[:-1]] == sorted(name for _, name in known[:25])
    assert listed[-1] == "    the lowest 25 of 200; all are in metrics.json"
