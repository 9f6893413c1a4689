"""One search: trial after trial is taken, trained where it was left, and judged; several processes may share the work."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from medzoo.commands import train
from medzoo.commands.suites.written import Words, compose_training, left_off
from medzoo.commands.tuning.asked import Asked
from medzoo.commands.tuning.journal import Journal
from medzoo.commands.tuning.plan import CONTENT, Plan, judged_on, parts_of, require_rows, require_unseen
from medzoo.commands.tuning.propose import decide, distributions, propose, pruner_of
from medzoo.data.errors import MedzooError, TrainingError
from medzoo.data.registry import load_dataset
from medzoo.inference.devices import make_accelerator
from medzoo.inference.predict import run_dataset
from medzoo.inference.run import Runner
from medzoo.settings.compose import typed
from medzoo.settings.schema import TrainConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.prepare import prepare_samples
from medzoo.train.state import Progress


class Search:
    """One search in a folder: `journal.jsonl`, `trials/0000`, `locks`.

    Args:
        folder: The folder.
        asked: What is searched.
        further: Settings of every trial beside: the outer fold.
        plan: Of a search that begins; None of one that has begun.
    """

    def __init__(self, folder: Path, asked: Asked, further: Words = (), plan: Plan | None = None) -> None:
        self.folder, self.asked, self.further = folder, asked, further
        self.journal = Journal(folder)
        if plan is not None and not self.journal.begun:
            with self.alone():
                self.journal = Journal(folder)  # another process may have been faster
                if not self.journal.begun:
                    self.journal.begin(plan.monitor, plan.direction, {"rows": list(plan.rows), "epochs": plan.epochs})

    @property
    def monitor(self) -> str:
        """The metric that judges trials."""
        return str(self.journal.noted("monitor"))

    @property
    def done(self) -> bool:
        """Whether all trials have ended."""
        trials = self.journal.trials()
        return len(trials) >= self.asked.trials and all(trial.state.is_finished() for trial in trials)

    def alone(self) -> FileLock:
        """Return a lock under which one process at a time looks what is to be done."""
        return FileLock(self.folder / "locks" / "next.lock")

    def carry_out(self, name: str) -> None:
        """Run all trials that no other process runs; `name` begins what is printed."""
        while (taken := self._take()) is not None:
            number, lock = taken
            try:
                values = self.journal.trials()[number].params
                shown = " ".join(word for setting in self.asked.space for word in setting.words(values[setting.name]))
                print(f"== {name}trial {number} of {self.asked.trials}: {shown}", flush=True)
                self._run(number, values)
            finally:
                lock.release()

    def runs(self, number: int) -> list[Path]:
        """Return the run directories of a trial, one for each of its parts."""
        path, parts = self.folder / "trials" / f"{number:04d}", len(parts_of(self.asked))
        return [path] if parts == 1 else [path / f"fold-{part}" for part in range(parts)]

    def words(self, values: Mapping[str, Any], part: int) -> Words:
        """Return the settings of one part of a trial, without its folder."""
        return (*self.asked.words(values), *self.further, *parts_of(self.asked)[part], CONTENT)

    def _take(self) -> tuple[int, FileLock] | None:
        """Return a trial that was left behind, or the next one, and the lock that makes it this process's; None without."""
        with self.alone():
            trials = self.journal.trials()
            for trial in trials:
                if trial.state == TrialState.RUNNING and (lock := self._lock(trial.number)) is not None:
                    if self.journal.trials()[trial.number].state == TrialState.RUNNING:
                        return trial.number, lock
                    lock.release()  # it ended in between
            if len(trials) >= self.asked.trials:
                return None
            values = propose(self.asked, trials, self.journal.direction)
            number = self.journal.add(values, distributions(self.asked))
            lock = self._lock(number)
            assert lock is not None
            return number, lock

    def _lock(self, number: int) -> FileLock | None:
        """Return a trial's lock, taken; None where another process has it."""
        lock = FileLock(self.folder / "locks" / f"{number:04d}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _run(self, number: int, values: Mapping[str, Any]) -> None:
        """Train a trial's parts, from where they were left, and end it."""
        try:
            for part, path in enumerate(self.runs(number)):
                if f"part {part}" in self.journal.trials()[number].user_attrs:
                    continue
                watch = Watch(self, number, prunes=part == 0)
                self._train(path, self.words(values, part), part, watch)
                if watch.stopped:
                    self.journal.end(number, pruned=True)
                    print(f"pruned after epoch {max(watch.values)}", flush=True)
                    return
                reached = watch.values or _reached(path, self.monitor)
                if not reached:
                    raise TrainingError(f"val {self.monitor} was never defined")
                sign = 1 if self.journal.direction == StudyDirection.MAXIMIZE else -1
                best = max(reached, key=lambda epoch: (sign * reached[epoch], -epoch))
                self.journal.keep(number, f"part {part}", {"value": reached[best], "epoch": best if watch.values else None})
        except MedzooError as error:
            self.journal.end(number, failed=str(error))
            print(f"failed: {error}", flush=True)
            return
        self.journal.end(number, value=mean(part["value"] for part in ended_parts(self.journal.trials()[number])))

    def _train(self, path: Path, words: Words, part: int, watch: Watch) -> None:
        if left_off(path):
            train.resume(path, {}, watch)
            return
        if path.exists():  # stopped before there was anything to go on from
            shutil.rmtree(path)
        config, settings = compose_training(words, path)
        dataset = load_dataset(**settings.data)
        require_rows(dataset, self.journal.noted("rows")[part], "it")
        require_unseen(settings, dataset, judged_on(self.further))
        train.main(config, dataset, watch)


class Watch:
    """What looks at a training's epochs: notes them for other trials, and says whether it is to be stopped.

    Attributes:
        values: Epoch → what it reached, of those where that is defined.
        stopped: Whether the training was stopped on the way.
    """

    def __init__(self, search: Search, number: int, *, prunes: bool) -> None:
        self._search, self._number, self._prunes = search, number, prunes
        self._pruner = pruner_of(search.asked, int(search.journal.noted("epochs")))
        self.values: dict[int, float] = {}
        self.stopped = False

    def __call__(self, progress: Progress) -> bool:
        """Look at a training before its next epoch, and when it is done; returns whether it is to be left there."""
        name, journal = f"val_{self._search.monitor}", self._search.journal
        for row in progress.history:
            if name not in row:
                other = next(key.removeprefix("val_") for key in reversed(row) if key.startswith("val_"))
                raise TrainingError(f"its epochs are judged by {other} and those of other trials by {self._search.monitor}")
        told = ((row["epoch"], row[name]) for row in progress.history)
        self.values = {epoch: value for epoch, value in told if value is not None and math.isfinite(value)}
        if not self._prunes or not self.values:
            return False
        stop, noted = decide(self._pruner, journal.trials(), self._number, self.values, journal.direction)
        journal.report(self._number, self.values, noted)
        self.stopped = stop and not progress.finished
        return stop


def ended_parts(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return what each part of a trial reached, and in which epoch."""
    return [trial.user_attrs[name] for name in sorted(trial.user_attrs) if name.startswith("part ")]


def monitored(path: Path, monitor: str, split: str) -> float | None:
    """Return what a run's best checkpoint reaches on a split; None where that is undefined."""
    run = RunDirectory.open(path)
    settings = typed(TrainConfig, OmegaConf.create(run.settings()))
    task = load_checkpoint(find_checkpoint(path, "best"))
    dataset = run_dataset(run, {}, task.spec)
    samples = task.samples(dataset, split)
    prepare_samples(task, samples, dataset, settings.model)
    runner = Runner(make_accelerator(settings.device), settings.trainer.batch_size, settings.trainer.workers)
    task.to(runner.device).eval()
    outputs, loss = runner.predict(task, samples)
    return loss if monitor == "loss" else task.monitor_value(monitor, outputs, samples)


def _reached(path: Path, monitor: str) -> dict[int, float]:
    """Return what a model that learns without epochs reached, by the number of the try."""
    history = RunDirectory(path).history
    if not history.is_file():
        value = monitored(path, monitor, "val")
        return {} if value is None else {0: value}
    with history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {number: float(row[f"val_{monitor}"]) for number, row in enumerate(rows) if row.get(f"val_{monitor}")}
