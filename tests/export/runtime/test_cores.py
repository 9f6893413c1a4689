"""Cores of a process that is pinned, or lives in a container with a quota."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medzoo.export.runtime import providers
from medzoo.export.runtime.batch_session import BatchSession
from medzoo.export.runtime.cores import available_cores, cpu_quota, restricted_cores
from medzoo.export.runtime.providers import SessionSettings
from tests.export.handmade import write


def groups(folder: Path, version: int, quota: str, period: str = "100000") -> Path:
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} {period}\n")
        return folder
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n")
    return folder


@pytest.mark.parametrize(
    ("version", "quota", "cores"),
    [(2, "150000", 1.5), (2, "max", None), (2, "", None), (1, "300000", 3.0), (1, "-1", None), (1, "what", None)],
)
def test_a_quota_is_read_from_either_version(tmp_path: Path, version: int, quota: str, cores: float | None) -> None:
    assert cpu_quota(groups(tmp_path, version, quota)) == cores


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert available_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_a_part_of_a_core_is_one_and_a_large_quota_is_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for quota, cores in (("10000", 1), ("250000", 3), ("1600000", 8)):
        groups(tmp_path, 2, quota)
        assert available_cores(tmp_path) == restricted_cores(tmp_path) == cores
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert restricted_cores(tmp_path) is None


def test_a_session_has_no_more_threads_than_the_process_has_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.onnx")
    monkeypatch.setattr(providers, "restricted_cores", lambda: 3)
    assert BatchSession(path, SessionSettings()).session.get_session_options().intra_op_num_threads == 3
    assert BatchSession(path, SessionSettings(threads=2)).session.get_session_options().intra_op_num_threads == 2
    monkeypatch.setattr(providers, "restricted_cores", lambda: None)
    assert BatchSession(path, SessionSettings()).session.get_session_options().intra_op_num_threads == 0  # its own choice


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be made fewer")
def test_a_process_pinned_to_one_core_knows_it(tmp_path: Path) -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}})\n"
        "from medzoo.export.runtime.batch_session import BatchSession\n"
        "from medzoo.export.runtime.providers import SessionSettings\n"
        f"batches = BatchSession({str(write(tmp_path / 'm.onnx'))!r}, SessionSettings())\n"
        "print(batches.threads, batches.session.get_session_options().intra_op_num_threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
    assert not done.stderr
