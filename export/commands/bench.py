"""`medzoo bench`: torch and ONNX Runtime side by side on one model, the same images, in one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.export.bench.contestants import ENGINES, REFERENCE, build, list_contestants, warm_up
from medzoo.export.bench.machine import OtherLoad, describe_machine
from medzoo.export.bench.report import batch_report, format_batch, plot_ratios
from medzoo.export.bench.rounds import compare_outputs, interleave, speedups
from medzoo.export.bench.subjects import Subject, backbone_subjects, run_subjects
from medzoo.export.files.integrity import files_of
from medzoo.export.runtime.cores import available_cores
from medzoo.export.runtime.providers import SessionSettings, prove
from medzoo.export.settings import PRECISIONS, BenchConfig
from medzoo.store.directory import refuse_bundle
from medzoo.store.storage import write_file


def main(config: BenchConfig) -> None:
    """Run the command: print the tables, write `bench.json` and `bench.png`.

    Raises:
        ConfigError: If a setting means nothing, neither run nor backbone is given, or it would write into a bundle.
        ProviderError: If the provider does not truly run.
    """
    folder = Path(config.output) if config.output is not None else None if config.run is None else Path(config.run)
    if folder is not None:
        refuse_bundle(folder)
        if folder.exists() and not folder.is_dir():  # said before the minutes of timing, not after them
            raise ConfigError(f"{folder} is a file: give a folder, which need not be there")
    report = bench(config, echo=True)
    if folder is None:
        print("note: nothing is kept; output=<folder> writes bench.json and bench.png")
        return
    write_file(folder / "bench.json", json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8"))
    plot_ratios(folder / "bench.png", report["subjects"])
    print(f"wrote {folder / 'bench.json'} and {folder / 'bench.png'}")


def bench(config: BenchConfig, *, echo: bool = False) -> dict[str, Any]:
    """Time a model's engines as `config` says; see `main`. `echo` prints results as they come.

    Returns:
        A JSON-ready report: machine, settings, and for each graph (an image–text model has two) what `bench_subject` returns.
    """
    check_settings(config)
    threads = config.threads or available_cores()
    settings = SessionSettings(config.provider, threads=threads, split_batches=config.split_batches)
    prove(config.provider)
    machine = describe_machine(threads)
    with _torch_threads(threads), _subjects(config) as subjects:
        if echo:
            versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
            print(f"{machine.get('gpu', machine['processor'])}, {machine['cores']} cores, {threads} threads; {versions}")
        parts = [bench_subject(subject, config, settings, echo=echo) for subject in subjects]
    kept = ("batch_sizes", "rounds", "min_seconds", "warm_up", "split_batches", "whole_batches", "provider", "seed")
    return {"machine": machine, "settings": {name: getattr(config, name) for name in kept}, "subjects": parts}


def bench_subject(subject: Subject, config: BenchConfig, settings: SessionSettings, *, echo: bool = False) -> dict[str, Any]:
    """Time one graph's engines at every batch size.

    Returns:
        `name`, `input` (shape of one), `megabytes` by precision, and in `batches` what
        `medzoo.export.bench.report.batch_report` returns.
    """
    contestants = list_contestants(subject, config.engines, settings, whole=config.whole_batches)
    precisions = {contestant.name: contestant.precision for contestant in contestants}
    runs, absent = build(contestants)
    absent = {**{f"ONNX Runtime {precision}": reason for precision, reason in subject.absent.items()}, **absent}
    if "openvino" in config.engines and "fp16" in subject.files:
        absent["OpenVINO fp16"] = "its CPU plugin computes fp16 files in float32"
    batches = []
    if echo:
        print(subject.name)
    for size in config.batch_sizes:
        inputs = subject.batch(size)
        outputs, failed = warm_up(runs, inputs, config.warm_up)
        agreements = {name: compare_outputs(outputs[REFERENCE], found, precisions[name]) for name, found in outputs.items()}
        load = OtherLoad()
        seconds = interleave({name: partial(runs[name], inputs) for name in outputs}, config.rounds, config.min_seconds)
        batch = batch_report(seconds, speedups(seconds, REFERENCE), agreements, size, load.share(), {**absent, **failed})
        batches.append(batch)
        if echo:
            print("\n".join(format_batch(batch, rounds=config.show_rounds)), flush=True)
    sizes = {precision: sum(file.stat().st_size for file in files_of(path)) for precision, path in subject.files.items()}
    megabytes = {precision: round(size / 1e6, 2) for precision, size in sizes.items()}
    return {"name": subject.name, "input": list(subject.batch(1).shape[1:]), "megabytes": megabytes, "batches": batches}


def check_settings(config: BenchConfig) -> None:
    """Raise a one-line error for settings that mean nothing.

    Raises:
        UnknownNameError: For an engine or a precision that does not exist.
        ConfigError: For a number out of range, or unless one of run and backbone is given.
    """
    if (config.run is None) == (config.backbone is None):
        raise ConfigError("say what to time: run=<run directory>, or backbone=<name> family=cnn size=224 for random weights")
    plain = BenchConfig()
    of_backbone = [name for name in ("size", "family", "channels") if getattr(config, name) != getattr(plain, name)]
    if config.run is not None and of_backbone:
        raise ConfigError(f"{', '.join(of_backbone)} is for backbone=; a run has its own; leave it out")
    for engine in config.engines:
        if engine not in ENGINES:
            raise UnknownNameError("engine", engine, ENGINES)
    for precision in config.precisions or ():
        if precision not in PRECISIONS:
            raise UnknownNameError("precision", precision, PRECISIONS)
    if not config.batch_sizes or min(config.batch_sizes) < 1:
        raise ConfigError(f"batch_sizes={config.batch_sizes} must be whole numbers of at least 1, such as [1,32]")
    for name in ("rounds", "warm_up", "threads"):
        if (number := getattr(config, name)) is not None and number < 1:
            raise ConfigError(f"{name}={number} must be at least 1")
    if config.whole_batches and (not config.split_batches or config.provider != "cpu"):
        raise ConfigError("whole_batches=true shows them beside cut ones; it needs split_batches=true and provider=cpu")
    if config.min_seconds < 0:
        raise ConfigError(f"min_seconds={config.min_seconds:g} must not be negative")


def _subjects(config: BenchConfig) -> AbstractContextManager[list[Subject]]:
    if config.run is not None:
        return nullcontext(run_subjects(Path(config.run), config))
    assert config.backbone is not None
    return backbone_subjects(
        config.backbone, config.family, config.size, config.channels, config.precisions, config.seed, config.parts
    )


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
