"""No spoilt file takes 2 GB: counted around each test of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.memory import forget_peak, peak_megabytes, resident_megabytes


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    forget_peak()
    before = resident_megabytes()
    yield
    assert peak_megabytes() - before < 2048
