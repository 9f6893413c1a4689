"""The page of a ChestX-ray14-sized test (25,596 images, 14 findings, 1,000 replicates) beside the evaluation that it shows.

Run: python -m benchmarks.report_page

Predictions are drawn. The evaluation is `medzoo evaluate predict=false`: metrics, two subgroup columns with their disparity, and
calibration, each with intervals; `without intervals` is the same with replicates=0, so that the difference is the bootstrap's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, write_metrics
from medzoo.report.document import report_page
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec

IMAGES, FINDINGS, REPLICATES = 25_596, 14, 1000


def drawn(spec: ModelSpec) -> Predictions:
    rng = np.random.default_rng(0)
    targets = (rng.random((IMAGES, FINDINGS)) < 0.1).astype(np.float32)
    logits = (rng.normal(size=targets.shape) + targets).astype(np.float32)
    columns = {"sex": rng.choice(["F", "M"], IMAGES), "view": rng.choice(["AP", "PA"], IMAGES)}
    return Predictions(
        labels=spec.label_space, sample_id=np.array([f"{i:05d}" for i in range(IMAGES)], dtype=object),
        split=np.array(["test"] * IMAGES, dtype=object), group=np.array([f"p{i // 9}" for i in range(IMAGES)], dtype=object),
        targets=targets, logits=logits, probabilities=(1 / (1 + np.exp(-logits))).astype(np.float32),
        subgroups=pd.DataFrame(columns), spec_hash=spec.hash, split_unit="patient",
    )  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    labels = LabelSpace("multilabel", tuple(f"finding {k}" for k in range(FINDINGS)))
    spec = ModelSpec("cnn", "classify", "resnet50", Preprocess(size=(224, 224), channels=1, mean=(0.5,), std=(0.5,)), labels)
    predictions = drawn(spec)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder) / "run", "data:\n  name: drawn\n", spec)
        predictions.write(run.predictions)
        evaluated = seconds(
            lambda: write_metrics(run.metrics, evaluate(predictions, splits=["test"], interval=Interval(REPLICATES)))
        )
        plain = seconds(lambda: evaluate(predictions, splits=["test"], interval=Interval(0)))
        page = seconds(lambda: report_page(run, split="test", each=6, dataset=None, command=["medzoo", "report"]))
    print(
        f"evaluation {evaluated:.1f} s, without intervals {plain:.1f} s: bootstrap {evaluated - plain:.1f} s; page {page:.1f} s, "
        f"{page / (evaluated - plain):.2f} of the bootstrap"
    )


if __name__ == "__main__":
    main()
