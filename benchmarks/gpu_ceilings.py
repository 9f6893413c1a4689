"""What the card itself does: copies and matrix products, and who it is. Figures of other sections are shares of these."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from medzoo.export.bench.machine import describe_machine
from medzoo.export.runtime.cores import available_cores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.gpu import Call


def synchronise(device: torch.device) -> None:
    """Wait for all work of a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device, repeats: int = 10) -> list[float]:
    """Return the device time of each of several runs after three that are not counted; two passes, so that the spread is seen."""
    for _ in range(3):
        run()
    synchronise(device)
    found = []
    for _ in range(2 * repeats):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            found.append(start.elapsed_time(end) / 1000)
        else:
            begin = time.perf_counter()
            run()
            found.append(time.perf_counter() - begin)
    return found


@contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Let float32 matrix products be computed in TF32 (`high`) or not (`highest`)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def product(device: torch.device, dtype: torch.dtype, side: int, precision: str = "highest") -> list[float]:
    """Return the TFLOP/s of each of several products of two random square matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    with float32_products(precision):
        return [2 * side**3 / one / 1e12 for one in seconds(lambda: torch.mm(a, b, out=out), device)]


def bf16_ceiling(device: torch.device) -> float:
    """Return the median TFLOP/s of bf16 products: what shares are taken of."""
    return median(product(device, torch.bfloat16, 8192 if device.type == "cuda" else 512))


def copy(device: torch.device) -> list[float]:
    """Return the GB/s of copies within the device, bytes read and bytes written."""
    count = 2**30 if device.type == "cuda" else 2**24
    source = torch.randint(0, 256, (count,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return [2 * count / one / 1e9 for one in seconds(lambda: target.copy_(source), device)]


def upload(device: torch.device) -> list[float]:
    """Return the GB/s of copies from page-locked host memory."""
    count = 2**28 if device.type == "cuda" else 2**22
    source = torch.randint(0, 256, (count,), dtype=torch.uint8, pin_memory=device.type == "cuda")
    target = torch.empty(count, dtype=torch.uint8, device=device)
    return [count / one / 1e9 for one in seconds(lambda: target.copy_(source, non_blocking=True), device)]


def machine(device: torch.device) -> dict[str, Any]:
    """Return card or processor, driver and versions; `text` is all of it in one line."""
    described = describe_machine(available_cores())
    found: dict[str, Any] = {"name": described["processor"], "cores": available_cores(), "torch": torch.__version__}
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        found |= {"name": torch.cuda.get_device_name(device), "memory": f"{memory:.0f} GiB", "driver": _driver()}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    kept = [f"{name} {value}" for name, value in found.items() if name not in ("name", "cores", "memory")]
    memory_text = f", {found['memory']}" if "memory" in found else ""
    found["text"] = f"{found['name']}{memory_text}, {found['cores']} cores; {', '.join(kept)}"
    return found


def _driver() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout.split("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def run(call: Call, keep: Callable[[str, Any], None]) -> str:
    """Measure the ceilings."""
    device = call.device
    side = 8192 if device.type == "cuda" else 512
    measured: list[tuple[str, str, Callable[[], list[float]]]] = [
        ("copy on the device, read and written", "GB/s", lambda: copy(device)),
        ("copy from pinned host memory", "GB/s", lambda: upload(device)),
        (f"bf16 product, {side}³", "TFLOP/s", lambda: product(device, torch.bfloat16, side)),
        (f"TF32 product, {side}³", "TFLOP/s", lambda: product(device, torch.float32, side, "high")),
        (f"float32 product, {side}³", "TFLOP/s", lambda: product(device, torch.float32, side)),
    ]
    values, rows, markdown = {}, [], ""
    for name, unit, measure in measured:
        found = call.attempt(name, measure)
        if found is None:
            continue
        halves = [median(found[: len(found) // 2]), median(found[len(found) // 2 :])]
        values[name] = {"unit": unit, "median": median(found), "halves": halves, "all": found}
        rows.append(
            [name, f"{median(found):.4g} {unit}", f"{min(found):.4g} to {max(found):.4g}", " / ".join(f"{h:.4g}" for h in halves)]
        )
        markdown = table(["random data", "median", "all", "twice"], rows)
        keep(markdown, values)
    return markdown
