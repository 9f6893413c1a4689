"""Which jobs of a suite are done, and doing the rest: what was stopped goes on, what is done is left alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medzoo.commands import evaluate, train, zeroshot
from medzoo.commands.suites.grid import Job
from medzoo.commands.suites.written import compose_training, left_off, quoted
from medzoo.data.errors import ConfigError, MedzooError
from medzoo.settings.compose import compose_config, typed
from medzoo.settings.verbs import EvaluateConfig, ZeroshotConfig
from medzoo.store.storage import write_file

FILE = "suite.json"


@dataclass
class Progress:
    """What a suite's folder says of its jobs.

    Attributes:
        folder: The suite's.
        started: Job → the command it was started with.
        done: Jobs that ended well.
    """

    folder: Path
    started: dict[str, list[str]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Progress:
        """Read a suite's folder; ConfigError if it is not one, or its file is damaged."""
        file = folder / FILE
        if not file.is_file():
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise ConfigError(f"{folder} holds no suite (no {FILE}) and is not empty; give another --output")
            return cls(folder)
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            started = {str(name): [str(word) for word in words] for name, words in told["started"].items()}
            return cls(folder, started, [str(name) for name in told["done"] if name in started])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{file} is damaged ({type(error).__name__}); give another --output") from error

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs that are there by other settings, and compose the settings of those that are to come.

        Raises:
            MedzooError: Of the first job that cannot run, with its name: nothing is trained before.
        """
        for job in jobs:
            earlier = self.started.get(job.name)
            if earlier is not None and earlier != command(job):
                changed = sorted(set(earlier) ^ set(command(job)))
                raise ConfigError(
                    f"{job.name} of {self.folder} was run with other settings ({', '.join(changed)}); delete its folder and its "
                    f"line in {FILE}, or give another --output"
                )
            if job.name not in self.done:
                try:
                    self._composed(job)
                except MedzooError as error:
                    raise ConfigError(f"{job.name}: {error}") from error

    def run(self, job: Job) -> None:
        """Run a job to its end, from where it was stopped if it was; then it is done."""
        path, begun = self.folder / job.name, job.name in self.started
        if not begun:
            self.started[job.name] = command(job)
            self._write()
        if job.kind == "train" and begun and left_off(path):
            train.resume(path, {})
        else:
            if begun and path.exists():  # stopped before there was anything to go on from
                shutil.rmtree(path)
            settings = self._composed(job)
            if job.kind == "train":
                train.main(settings)
            elif job.kind == "zeroshot":
                zeroshot.main(settings)
            else:
                evaluate.main(settings)
        self.done.append(job.name)
        self._write()

    def _composed(self, job: Job) -> Any:
        """Return a job's settings, checked as its verb checks them."""
        path = self.folder / job.name
        if job.kind == "evaluate":
            words = [*job.words, f"run={quoted(path.parent.parent)}"]
            return typed(EvaluateConfig, compose_config("evaluate", words))
        if job.kind == "zeroshot":
            return typed(ZeroshotConfig, compose_config("zeroshot", [*job.words, f"run={quoted(path)}"]))
        return compose_training(job.words, path)[0]

    def _write(self) -> None:
        told = {"started": self.started, "done": self.done}
        write_file(self.folder / FILE, json.dumps(told, indent=1, ensure_ascii=False).encode("utf-8"))


def command(job: Job) -> list[str]:
    """Return the words of a job's command, without its folder."""
    return [job.kind, *job.words]
