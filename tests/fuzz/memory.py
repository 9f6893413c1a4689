"""The most memory that this process held, which Linux can be told to count anew."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc/self")


def peak_megabytes() -> int:
    """Return the most resident memory since the last `forget_peak`, in MB; 0 where the system does not say (not Linux).

    Not `ru_maxrss`: a new program inherits the largest size that the process which started it ever had.
    """
    return _megabytes("VmHWM")


def resident_megabytes() -> int:
    """Return the resident memory of now, in MB; 0 where the system does not say (not Linux)."""
    return _megabytes("VmRSS")


def forget_peak() -> None:
    """Let the next `peak_megabytes` speak of what comes from here on (proc(5): 5 in clear_refs)."""
    if (PROC / "clear_refs").exists():
        (PROC / "clear_refs").write_text("5")


def _megabytes(name: str) -> int:
    if not (PROC / "status").exists():
        return 0
    found = [line.split()[1] for line in (PROC / "status").read_text().splitlines() if line.startswith(name + ":")]
    return int(found[0]) >> 10 if found else 0
