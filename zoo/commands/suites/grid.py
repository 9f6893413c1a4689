"""A grid of trainings in one YAML file: datasets × models × seeds × folds, what is classified by prompts, tests on other data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from medzoo.commands.suites.written import Words, read_keys, read_words
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.evaluation.monitor import require_some_metric

Kind = Literal["train", "zeroshot", "evaluate"]
KEYS = ("data", "models", "zeroshot", "seeds", "folds", "common", "external", "metric", "reference")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
OWN = ("run", "resume", "seed", "data.fold", "data.folds", "name")
"""Settings that a grid gives itself."""


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: Its folder below the suite's, `retina/resnet/seed-0/fold-1`; of a test on other data its run's, `external/<name>`.
        kind: The verb.
        words: Its settings, without `run=`.
        dataset: Name of the dataset in the grid.
        model: Name of the model in the grid.
    """

    name: str
    kind: Kind
    words: Words
    dataset: str
    model: str


@dataclass(frozen=True)
class Grid:
    """What a suite runs.

    Attributes:
        data: Name → settings that choose a dataset.
        models: Name → settings of a training.
        zeroshot: Name → settings of an image–text model that classifies by prompts, once a dataset.
        seeds: Of every training.
        folds: How many folds each training has; None: the dataset's own split.
        common: Settings of every training.
        external: Dataset → name → settings of a test on other data (`on=...`), of every run trained on it.
        metric: What models are ranked by; None: the first of each label kind's.
        reference: The model that others are compared with; the first one.
    """

    data: Mapping[str, Words]
    models: Mapping[str, Words]
    zeroshot: Mapping[str, Words]
    seeds: tuple[int, ...]
    folds: int | None
    common: Words
    external: Mapping[str, Mapping[str, Words]]
    metric: str | None
    reference: str

    @classmethod
    def read(cls, path: Path) -> Grid:
        """Read a grid; ConfigError with what is wrong in it, UnknownNameError of a key it does not have."""
        content = read_keys(path, "grid", KEYS)
        read = _Reader(path)
        data = read.named(content, "data")
        models, zeroshot = read.named(content, "models"), read.named(content, "zeroshot")
        if not data or not (models or zeroshot):
            raise ConfigError(f"{path}: a grid needs data and models (or zeroshot), each by name")
        if both := sorted(set(models) & set(zeroshot)):
            raise ConfigError(f"{path}: {both[0]!r} is among models and zeroshot; rename one")
        external = content.get("external") or {}
        if not isinstance(external, dict):
            raise ConfigError(f"{path}: external is datasets of the grid, each with tests by name")
        for name in external:
            if name not in data:
                raise UnknownNameError("dataset of the grid", str(name), data, where=f" in external of {path}")
        reference = content.get("reference") or next(iter({**models, **zeroshot}))
        if reference not in {**models, **zeroshot}:
            raise UnknownNameError("model of the grid", str(reference), {**models, **zeroshot}, where=f" (reference in {path})")
        metric = content.get("metric")
        if metric is not None:
            require_some_metric(str(metric), f" (metric in {path})")
        return cls(
            data, models, zeroshot, read.seeds(content), read.folds(content), read.words(content.get("common") or "", "common"),
            {name: read.named(external, name) for name in external}, None if metric is None else str(metric), str(reference),
        )  # fmt: skip

    def jobs(self) -> list[Job]:
        """Return every job, in the order they run: dataset by dataset, each run followed by its tests on other data."""
        jobs: list[Job] = []
        folds = range(self.folds) if self.folds else (None,)
        for dataset, data in self.data.items():
            for model, seed, fold in product(self.models, self.seeds, folds):
                words = (*data, *self.models[model], *self.common, f"seed={seed}")
                name = f"{dataset}/{model}/seed-{seed}"
                if fold is not None:
                    name, words = f"{name}/fold-{fold}", (*words, f"data.folds={self.folds}", f"data.fold={fold}")
                jobs.append(Job(name, "train", words, dataset, model))
                for test, on in self.external.get(dataset, {}).items():
                    jobs.append(Job(f"{name}/external/{test}", "evaluate", (*on, f"name={test}"), dataset, model))
            for model, asked in self.zeroshot.items():
                jobs.append(Job(f"{dataset}/{model}", "zeroshot", (*data, *asked), dataset, model))
        return jobs


class _Reader:
    """Reads the parts of a grid's file; what is wrong is said with the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def named(self, content: Mapping[str, Any], key: str) -> dict[str, Words]:
        """Return the settings of each name."""
        given = content.get(key) or {}
        if not isinstance(given, dict):
            raise ConfigError(f"{self._path}: {key} holds a {type(given).__name__}, not names with lists of settings")
        for name in given:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ConfigError(f"{self._path}: {key} {name!r} names a folder: letters, digits, '.', '_', '+' and '-' alone")
        return {name: self.words(words, f"{key}.{name}") for name, words in given.items()}

    def words(self, given: Any, place: str) -> Words:
        """Return settings as words; see `read_words`."""
        return read_words(given, f"{self._path}: {place}", OWN, "the suite gives itself (seeds, folds, folders)")

    def seeds(self, content: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the seeds, each once."""
        given = content.get("seeds", [0])
        if not isinstance(given, list) or not given or not all(type(seed) is int and seed >= 0 for seed in given):
            raise ConfigError(f"{self._path}: seeds={given!r} is no list of whole numbers from 0 on")
        if len(set(given)) < len(given):
            raise ConfigError(f"{self._path}: a seed stands twice in {given}")
        return tuple(given)

    def folds(self, content: Mapping[str, Any]) -> int | None:
        """Return the number of folds; None without."""
        given = content.get("folds")
        if given is not None and (type(given) is not int or given < 2):
            raise ConfigError(f"{self._path}: folds={given!r} is no whole number from 2 on")
        return given
