"""The timing core with a clock of our own, and the real command on a tiny backbone and a trained run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from medzoo.cli import main
from medzoo.export.bench import contestants as bench_contestants
from medzoo.export.bench.machine import OtherLoad, describe_machine
from medzoo.export.bench.report import batch_report, format_batch
from medzoo.export.bench.rounds import compare_outputs, interleave, speedups
from medzoo.export.bench.subjects import backbone_subjects, smooth_images

QUICK = ["rounds=2", "min_seconds=0", "warm_up=1", "threads=1", "engines=[torch,onnxruntime]"]


class Clock:
    """Seconds that pass only while somebody works."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float) -> Callable[[], None]:
        left = iter(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += next(left)

        return run


def test_round_one_of_all_comes_before_round_two_of_any() -> None:
    clock = Clock()
    contestants = {"a": clock.work("a", 9, 1, 9, 2, 9, 6), "b": clock.work("b", 9, 4, 9, 4, 9, 4)}
    seconds = interleave(contestants, rounds=3, min_seconds=0, clock=clock)
    assert "".join(clock.calls) == "aabb" * 3  # each turn: one untimed call, one timed
    assert seconds == {"a": [1, 2, 6], "b": [4, 4, 4]}  # the untimed nines are nowhere


def test_a_round_lasts_at_least_as_long_as_asked_and_counts_its_calls() -> None:
    clock = Clock()
    contestants = {"fast": clock.work("f", *[0.25] * 10), "slow": clock.work("s", *[3] * 10)}
    seconds = interleave(contestants, rounds=2, min_seconds=1, clock=clock, settle=0)
    assert "".join(clock.calls) == ("ffff" + "s") * 2
    assert seconds == {"fast": [0.25, 0.25], "slow": [3, 3]}


def test_ratios_are_taken_within_a_round() -> None:
    # The machine was three times slower in the second round: each engine's own median would compare different rounds.
    seconds = {"torch": [4.0, 12.0, 4.0], "other": [2.0, 6.0, 1.0]}
    assert speedups(seconds, "torch") == {"torch": 1, "other": 2}


@pytest.mark.parametrize(("others", "warned"), [(None, False), (0.02, False), (0.4, True)])
def test_a_machine_that_others_use_is_told_plainly(others: float | None, warned: bool) -> None:
    agreement = compare_outputs(np.eye(2), np.eye(2), "fp32")
    batch = batch_report({"torch": [1.0]}, {"torch": 1.0}, {"torch": agreement}, 1, others, {})
    lines = format_batch(batch, rounds=False)
    assert any("warning: other processes took 40% of the processor" in line for line in lines) == warned


def test_outputs_agree_within_a_share_of_the_spread() -> None:
    reference = np.array([[0.0, 2.0], [4.0, 6.0]], dtype=np.float32)  # standard deviation: sqrt(5)
    off = reference + np.array([[0, 0], [0, 0.02]], dtype=np.float32)
    found = compare_outputs(reference, off, "fp32")
    assert found.relative == pytest.approx(0.02 / 5**0.5, rel=1e-4)
    assert not found.passed
    assert compare_outputs(reference, off, "fp16").passed
    assert compare_outputs(reference, reference * 1.0001, "fp32").passed


@pytest.mark.parametrize("broken", [np.zeros((2, 2)), np.full((2, 2), np.nan), np.ones((2, 3)), -np.eye(2)])
def test_a_broken_int8_graph_is_told(broken: np.ndarray) -> None:
    assert not compare_outputs(np.eye(2), broken, "int8").passed


def test_images_differ_and_repeat() -> None:
    images = smooth_images((5, 24, 16, 3), 3, seed=1)
    assert images.shape == (3, 5, 24, 16, 3)
    assert images.dtype == np.uint8
    assert not np.array_equal(images[0], images[1])
    np.testing.assert_array_equal(images, smooth_images((5, 24, 16, 3), 3, seed=1))
    steps = np.abs(np.diff(images.astype(int), axis=3)).mean(), np.abs(np.diff(images.astype(int), axis=4)).mean()
    assert steps[0] < steps[1] / 2  # soft in plane; channels have nothing to do with each other


def test_the_machine_has_no_name() -> None:
    import platform

    described = describe_machine(3)
    assert described["threads"] == 3
    assert described["versions"]["torch"].startswith("2.")
    assert platform.node() not in json.dumps(described)


@pytest.mark.skipif(sys.platform != "linux", reason="the share is read from /proc")
def test_our_own_work_is_not_the_neighbours() -> None:
    load = OtherLoad()
    total = sum(i * i for i in range(1_500_000))
    share = load.share()
    assert total
    assert share is not None
    assert 0 <= share <= 1


def test_the_command_keeps_every_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["backbone=test_resnet", "size=32", "batch_sizes=[1,3]", "precisions=[fp32,int8]", f"output={tmp_path}"]
    engines = ["engines=[torch,onnxruntime,openvino]"]
    assert main(["bench", *options, *QUICK[:-1], *engines]) == 0
    said = capsys.readouterr().out
    report = json.loads((tmp_path / "bench.json").read_text())
    (subject,) = report["subjects"]
    assert report["machine"]["threads"] == 1
    assert subject["input"] == [32, 32, 3]
    assert [batch["batch_size"] for batch in subject["batches"]] == [1, 3]
    for batch in subject["batches"]:
        results = {result["name"]: result for result in batch["results"]}
        assert {"torch eager", "ONNX Runtime fp32", "ONNX Runtime int8"} <= set(results)
        for name in ("OpenVINO fp32", "OpenVINO int8"):  # there, or named with its reason
            assert (name in results) != ("not installed" in batch["absent"].get(name, ""))
        ours = results["torch eager"]["rounds_seconds"]
        for result in results.values():
            rounds = result["rounds_seconds"]
            assert len(rounds) == 2
            assert result["ratio"] == pytest.approx(median(a / b for a, b in zip(ours, rounds, strict=True)))
            assert result["inputs_per_second"] == pytest.approx(batch["batch_size"] / median(rounds))
            assert result["agreement"]["passed"], result
            assert f"{1e3 * rounds[1]:.1f}" in said
        assert results["torch eager"]["ratio"] == 1
        assert results["ONNX Runtime fp32"]["agreement"]["relative"] < 1e-3
        assert results["ONNX Runtime int8"]["agreement"]["relative"] > 1e-3  # it is another graph
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "DISAGREES" not in said


def test_a_run_is_timed_with_its_own_files(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = exported.parent
    assert main(["bench", f"run={run}", *QUICK, "batch_sizes=[2]", "precisions=[fp32,fp16]", f"output={tmp_path}"]) == 0
    (batch,) = json.loads((tmp_path / "bench.json").read_text())["subjects"][0]["batches"]
    assert [result["name"] for result in batch["results"]] == ["torch eager", "ONNX Runtime fp32"]
    assert "precision=fp16 writes it" in batch["absent"]["ONNX Runtime fp16"]
    assert "did not take part: no model.fp16.onnx" in capsys.readouterr().out


def test_a_calibrated_file_is_held_by_its_own_logits(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run, ignore=shutil.ignore_patterns("model.onnx*"))
    assert main(["evaluate", f"run={run}", "predict=false", "evaluation.replicates=0", "evaluation.calibration=platt"]) == 0
    assert main(["export", f"run={run}", "images=8", "calibrated=true"]) == 0
    capsys.readouterr()
    assert main(["bench", f"run={run}", *QUICK, "batch_sizes=[2]", "precisions=[fp32]", f"output={tmp_path / 'bench'}"]) == 0
    assert "DISAGREES" not in capsys.readouterr().out


def test_an_engine_that_says_something_else_is_named(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = bench_contestants._onnxruntime

    def wrong(*given: object) -> bench_contestants.Run:
        run = honest(*given)  # type: ignore[arg-type]
        return lambda batch: run(batch) * np.float32(1.1)

    monkeypatch.setattr(bench_contestants, "_onnxruntime", wrong)
    assert main(["bench", f"run={exported.parent}", *QUICK, "batch_sizes=[4]", f"output={tmp_path}"]) == 0
    assert "DISAGREES with torch eager" in capsys.readouterr().out
    result = json.loads((tmp_path / "bench.json").read_text())["subjects"][0]["batches"][0]["results"][1]
    assert not result["agreement"]["passed"]


def test_an_engine_that_fails_while_it_runs_is_named(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_batch: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", lambda graph, **_: fails)
    options = ["engines=[compile]", "batch_sizes=[1]", f"output={tmp_path}"]
    assert main(["bench", f"run={exported.parent}", *QUICK[:-1], *options]) == 0
    assert "torch.compile              did not take part: RuntimeError: no compiler at all" in capsys.readouterr().out


@pytest.mark.slow
def test_both_towers_of_an_image_text_model(tmp_path: Path) -> None:
    options = ["backbone=clip_tiny", "family=clip", "precisions=[fp32,int8_dynamic]", "batch_sizes=[3]", f"output={tmp_path}"]
    assert main(["bench", *options, *QUICK]) == 0
    image, text = json.loads((tmp_path / "bench.json").read_text())["subjects"]
    assert (image["name"], text["name"]) == ("clip_tiny image", "clip_tiny text")
    for subject in (image, text):
        for result in subject["batches"][0]["results"]:
            assert result["agreement"]["passed"], result
        assert len(subject["batches"][0]["results"]) == 3


def test_a_volume(tmp_path: Path) -> None:
    options = ["backbone=test_resnet", "family=slices", "size=[4,32,32]", "channels=1", "precisions=[fp32]", "batch_sizes=[2]"]
    assert main(["bench", *options, *QUICK, f"output={tmp_path}"]) == 0
    (subject,) = json.loads((tmp_path / "bench.json").read_text())["subjects"]
    assert subject["input"] == [4, 32, 32, 1]
    assert subject["batches"][0]["results"][1]["agreement"]["passed"]


def test_cut_and_whole_batches_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = bench_contestants.BatchSession.run

    def run(self: Any, outputs: Any, feed: Any, rows: Any, piece: int) -> Any:
        found = real(self, outputs, feed, rows, piece)
        seen.append(self._single is not None)  # the second session is opened when a batch is cut
        return found

    monkeypatch.setattr(bench_contestants.BatchSession, "run", run)
    options = [
        "backbone=test_resnet",
        "size=32",
        "batch_sizes=[8]",
        "precisions=[fp32]",
        f"output={tmp_path}",
        "whole_batches=true",
    ]
    quick = [option for option in QUICK if not option.startswith("threads")]
    assert main(["bench", *options, *quick, "threads=2"]) == 0
    (subject,) = json.loads((tmp_path / "bench.json").read_text())["subjects"]
    names = [result["name"] for result in subject["batches"][0]["results"]]
    assert names == ["torch eager", "ONNX Runtime fp32", "ONNX Runtime fp32, whole"]
    assert set(seen) == {True, False}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run=a", "backbone=resnet18"], "run="),
        (["run=/no/such", "family=vit", "channels=1"], "family, channels is for backbone="),
        (["backbone=resnet18", "engines=[onnxruntme]"], "'onnxruntime'"),
        (["backbone=resnet18", "precisions=[int16]"], "int8"),
        (["backbone=resnet81"], "'resnet18'"),
        (["backbone=resnet18", "family=cbm"], "bench a run="),
        (["backbone=densenet121_3d", "family=cnn3d"], "size=[depth,height,width]"),
        (["backbone=resnet18", "size=[1,2,3]"], "[height,width]"),
        (["backbone=test_resnet", "size=32", "parts=[text]"], "parts"),
        (["backbone=clip_tiny", "family=clip", "parts=[txt]"], "'text'"),
        (["backbone=resnet18", "rounds=0"], "rounds=0"),
        (["backbone=resnet18", "batch_sizes=[]"], "batch_sizes"),
        (["backbone=resnet18", "min_seconds=-1"], "min_seconds"),
        (["backbone=resnet18", "provider=cpuu"], "'cpu'"),
        (["backbone=resnet18", "whole_batches=true", "split_batches=false"], "split_batches=true"),
        (["backbone=resnet18", "size=32", "bacth_sizes=[1]"], "'batch_sizes'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("medzoo: ")
    assert expected in error
    assert len(error.splitlines()) == 1


def test_a_run_that_was_not_exported(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained_run, copy, ignore=shutil.ignore_patterns("*.onnx"))
    assert main(["bench", f"run={copy}"]) == 2
    assert f"medzoo export run={copy} writes it" in capsys.readouterr().err


def test_a_file_under_the_name_of_another_precision_is_not_timed(
    trained_run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained_run, copy)
    shutil.copy(exported, copy / "model.int8.onnx")
    assert main(["bench", f"run={copy}", "precisions=[int8]"]) == 2
    assert "model.int8.onnx is fp32, its name says int8; export it again" in capsys.readouterr().err
    assert main(["bench", f"run={copy}", "precisions=[int8_dynamic]"]) == 2
    assert "no model.int8_dynamic.onnx in the run; medzoo export" in capsys.readouterr().err
    (copy / "model.int8.onnx").unlink()
    assert main(["bench", f"run={copy}", "checkpoint=last"]) == 2
    assert "model.onnx was made of checkpoint=best; time it beside that, or export last" in capsys.readouterr().err


def groups(model: onnx.ModelProto) -> set[int]:
    """Return how many groups the convolutions have."""
    return {part.i for node in model.graph.node if node.op_type == "Conv" for part in node.attribute if part.name == "group"}


@pytest.mark.slow
def test_reduced_volume_networks_are_those_that_export_makes(tmp_path: Path) -> None:
    """The minimal filtering of float32 has grouped products that an int8 file of medzoo's never has."""
    options = ("resnet18_3d", "cnn3d", [8, 32, 32], 1)
    with backbone_subjects(*options, ["fp32", "int8"], 0) as subjects:
        plain, reduced = (groups(onnx.load(subjects[0].files[precision])) for precision in ("fp32", "int8"))
    assert max(plain) > 1
    assert max(reduced, default=1) == 1


def test_openvino_is_said_to_be_absent_for_fp16(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["backbone=test_resnet", "size=32", "channels=1", "precisions=[fp32,fp16]", "engines=[openvino]"]
    small = ["batch_sizes=[1]", "rounds=1", "min_seconds=0", "warm_up=1"]
    assert main(["bench", *options, *small]) == 0
    assert "OpenVINO fp16" in capsys.readouterr().out


def test_a_place_that_is_a_file_is_said_before_anything_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "bench.json"
    place.touch()
    assert main(["bench", "backbone=test_resnet", "size=32", f"output={place}"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{place} is a file: give a folder" in said.err
