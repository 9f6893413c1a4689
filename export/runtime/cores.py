"""How many processor cores this process may use: pinned to some of them, or in a container with a quota of their time."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = CGROUP) -> int:
    """Return the cores this process may use: those it may run on, but no more than its quota pays for, rounded up.

    The kernel's control groups, which tell of the quota, are mounted at `cgroup`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def restricted_cores(cgroup: Path = CGROUP) -> int | None:
    """Return `available_cores` where they are fewer than the machine has, else None.

    ONNX Runtime by itself starts a thread for each core of the machine, pinned to it, whatever the process may use.
    """
    available = available_cores(cgroup)
    return available if available < (os.cpu_count() or 1) else None


def cpu_quota(cgroup: Path = CGROUP) -> float | None:
    """Return how many cores' time a container may use (`docker run --cpus`, Kubernetes `limits.cpu`); None: no quota.

    A container sees its own group at the root: `cpu.max` of control groups 2, `cpu/cpu.cfs_*_us` of version 1
    (docs.kernel.org/admin-guide/cgroup-v2.html and scheduler/sched-bwc.html).
    """
    try:
        try:
            quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        except (OSError, ValueError):
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{word}_us").read_text(encoding="ascii") for word in ("quota", "period"))
        share = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no quota
        return None
    return share if share > 0 else None  # version 1 says -1 for none
