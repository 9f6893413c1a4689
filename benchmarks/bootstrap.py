"""How long the group bootstrap of a ChestX-ray14-sized report takes: 25,596 images, 14 findings, 1,000 replicates.

Run: python benchmarks/bootstrap.py [rounds]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, bootstrap
from medzoo.evaluation.metrics import scored


def main() -> None:
    rng = np.random.default_rng(0)
    labels = LabelSpace("multilabel", tuple(f"finding {k}" for k in range(14)))
    targets = (rng.random((25_596, 14)) < 0.1).astype(np.float32)
    data = scored(labels, targets, (rng.normal(size=targets.shape) + targets).astype(np.float32))
    groups = [str(i // 9) for i in range(len(targets))]
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        start = time.perf_counter()
        bootstrap(data, groups, Interval(1000))
        print(f"round {number + 1}: {time.perf_counter() - start:.1f} s for nine metrics of 14 findings")


if __name__ == "__main__":
    main()
