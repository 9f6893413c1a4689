"""The group bootstrap of a ChestX-ray14-sized report (25,596 images, 14 findings) beside torchmetrics' BootStrapper.

Run: python -m benchmarks.bootstrap [rounds]

BootStrapper redraws images, not patients, and keeps a copy of all outputs for every replicate, so it is given 50 replicates at a
time and its time is that of 1,000 at the same pace; medzoo makes all 1,000, with either unit. Both use one thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torchmetrics.classification import MultilabelAUROC
from torchmetrics.wrappers import BootStrapper

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, bootstrap, group_codes, replicate_counts
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.ranking import ranking_metrics
from medzoo.evaluation.weighting import Weighting

IMAGES, FINDINGS, REPLICATES, THEIRS = 25_596, 14, 1000, 50


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    labels = LabelSpace("multilabel", tuple(f"finding {k}" for k in range(FINDINGS)))
    targets = (rng.random((IMAGES, FINDINGS)) < 0.1).astype(np.float32)
    logits = (rng.normal(size=targets.shape) + targets).astype(np.float32)
    data = scored(labels, targets, logits)
    patients = [str(i // 9) for i in range(IMAGES)]

    def ranks() -> None:
        codes = group_codes(patients)
        for counts in replicate_counts(int(codes.max()) + 1, REPLICATES, 0, REPLICATES):
            for k in range(FINDINGS):
                ranking_metrics(data.scores[:, k], targets[:, k] == 1, Weighting(counts, codes))

    def theirs() -> None:
        metric = MultilabelAUROC(FINDINGS, average=None, validate_args=False)
        boot = BootStrapper(metric, num_bootstraps=THEIRS, mean=False, std=False, raw=True)
        boot.update(torch.from_numpy(logits), torch.from_numpy(targets).long())
        boot.compute()

    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        whole = seconds(lambda: bootstrap(data, patients, Interval(REPLICATES)))
        images = seconds(lambda: bootstrap(data, [str(i) for i in range(IMAGES)], Interval(REPLICATES)))
        ours, other = seconds(ranks), seconds(theirs) * REPLICATES / THEIRS
        print(
            f"round {number + 1}: nine metrics of {FINDINGS} findings {whole:.1f} s over patients, {images:.1f} s over images; "
            f"AUROC and AP {ours:.1f} s; AUROC by torchmetrics' BootStrapper {other:.0f} s, {other / ours:.0f} times as long"
        )


if __name__ == "__main__":
    main()
