"""What a search is asked for: one YAML file, words of the command line beside it, or these alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json

from medzoo.commands.suites.written import Words, read_keys, read_words
from medzoo.commands.tuning.space import FORMS, Setting, read_setting, read_short
from medzoo.data.errors import ConfigError, UnknownNameError

KEYS = ("space", "common", "trials", "sampler", "pruner", "seed", "inner", "folds", "test")
NEVER = ("run", "resume", "evaluate", "debug", "data.fold", "data.folds", "data.outer_fold", "data.outer_folds")
"""Settings that a search gives itself: its trials do not touch the test split."""
ALIKE = ("seed", "device", "trainer.monitor", "evaluation")
"""Settings that are one for all trials, or what they reach could not be compared; and what changes no trial."""
SAMPLERS: Mapping[str, Mapping[str, int]] = {"tpe": {"startup": 10}, "random": {}, "grid": {}}
PRUNERS: Mapping[str, Mapping[str, int]] = {
    "none": {}, "median": {"startup": 5, "warmup": 0}, "halving": {"min": 1, "factor": 3}, "hyperband": {"min": 1, "factor": 3},
}  # fmt: skip
"""Names with their options and what these are unless given; `tpe` and `median` as in Optuna."""
LEAST = {"startup": 1, "warmup": 0, "min": 1, "factor": 2}


@dataclass(frozen=True)
class Method:
    """A sampler or a pruner by name, with its options."""

    name: str
    options: Mapping[str, int]


@dataclass(frozen=True)
class Asked:
    """What a search is.

    Attributes:
        space: What is searched.
        common: Settings of every trial.
        trials: How many.
        sampler: What chooses their settings.
        pruner: What stops those that fall behind.
        seed: Of the sampler.
        inner: Folds of train and val that each trial is trained in; None: one training by the data's own val split.
        folds: Outer folds that the search is judged by; None: it is not.
        test: Whether the best trial is evaluated on the test split.
    """

    space: tuple[Setting, ...]
    common: Words
    trials: int
    sampler: Method
    pruner: Method
    seed: int = 0
    inner: int | None = None
    folds: int | None = None
    test: bool = False

    @classmethod
    def read(cls, path: Path | None, words: Sequence[str], trials: int | None = None) -> Asked:
        """Read a file, words, or both: words come after the file's `common`, and `name=log(1e-5,1e-2)` joins its space.

        Raises:
            ConfigError: If something is wrong in them; one line that names it.
        """
        content = {} if path is None else read_keys(path, "search", KEYS)
        where = "" if path is None else f"{path}: "
        space = content.get("space") or {}
        if not isinstance(space, Mapping):
            raise ConfigError(f"{where}space is settings by name, each with {FORMS}")
        ranges = {str(name): given for name, given in space.items()}
        common = list(read_words(content.get("common") or "", f"{where}common", NEVER, "a search gives itself"))
        for word in words:
            short = read_short(word)
            if short is None:
                common += read_words([word], "the command line", NEVER, "a search gives itself")
            else:
                ranges[short[0]] = short[1]
        settings = tuple(_setting(name, given, f"{where}space.{name}") for name, given in ranges.items())
        if not settings:
            raise ConfigError(
                f"{where}nothing is searched: give space: {{trainer.learning_rate: {{log: [1e-5, 1e-2]}}}}, or as words "
                "trainer.learning_rate='log(1e-5,1e-2)'"
            )
        for word in common:
            if word.startswith("~") or "=" not in word:
                raise ConfigError(f"{where}common: {word!r} is no setting; settings are given as KEY=VALUE")
            if word.partition("=")[0].lstrip("+") in ranges:
                raise ConfigError(f"{where}{word} is given, and space.{word.partition('=')[0]} searches it; leave one out")
        sampler = _method(content.get("sampler", "tpe"), "sampler", SAMPLERS, where)
        asked = content.get("trials") if trials is None else trials
        return cls(
            settings, tuple(common), _trials(asked, sampler, settings, where), sampler,
            _method(content.get("pruner", "median"), "pruner", PRUNERS, where),
            _whole(content.get("seed", 0), "seed", 0, where), _folds(content, "inner", where), _folds(content, "folds", where),
            _switch(content.get("test", False), where),
        )  # fmt: skip

    def told(self) -> dict[str, Any]:
        """Return what makes its trials what they are, JSON-ready; their number may grow, and whether the best is tested."""
        space = {s.name: [json.loads(distribution_to_json(s.distribution)), dict(s.bundles)] for s in self.space}
        told = {
            "space": space, "common": self.common, "sampler": asdict(self.sampler), "pruner": asdict(self.pruner),
            "seed": self.seed, "inner": self.inner, "folds": self.folds,
        }  # fmt: skip
        content: dict[str, Any] = json.loads(json.dumps(told))
        return content

    def words(self, values: Mapping[str, Any]) -> Words:
        """Return the settings of a trial as words, without its folder."""
        chosen = [word for setting in self.space for word in setting.words(values[setting.name])]
        return (*self.common, *chosen)


def _setting(name: str, given: Any, place: str) -> Setting:
    if name in (*NEVER, *ALIKE) or name.startswith("evaluation."):
        raise ConfigError(f"{place}: {name} is not to be tuned: it is the same for all trials of a search")
    setting = read_setting(name, given, place, (*NEVER, *ALIKE))
    if any(word.startswith("evaluation.") for words in setting.bundles.values() for word in words):
        raise ConfigError(f"{place}: evaluation settings change no trial; give them in common")
    return setting


def _trials(given: Any, sampler: Method, space: Sequence[Setting], where: str) -> int:
    try:
        points = math.prod(len(setting.points()) for setting in space) if sampler.name == "grid" else None
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error
    if given is None and points is None:
        raise ConfigError(f"{where}say how many: trials: 30, or --trials 30")
    count = points if given is None else _whole(given, "trials", 1, where)
    assert count is not None
    if points is not None and count > points:
        raise ConfigError(f"{where}trials={count}, and the grid has {points} points; leave trials out, or give fewer")
    return count


def _method(given: Any, kind: str, known: Mapping[str, Mapping[str, int]], where: str) -> Method:
    """Return a sampler or pruner: its name, or {name: {option: value}}."""
    if given is None:
        given = "none"
    name, options = next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else (given, {})
    if not isinstance(name, str) or name not in known:
        raise UnknownNameError(kind, str(name), known, where=f" ({where}{kind})" if where else "")
    if not isinstance(options, Mapping):
        raise ConfigError(f"{where}{kind}: {name} takes options by name, {{{name}: {dict(known[name])}}}")
    for option in options:
        if option not in known[name]:
            raise UnknownNameError(f"option of {name}", str(option), known[name], where=f" ({where}{kind})" if where else "")
    found = {option: _whole(value, f"{kind}.{name}.{option}", LEAST[option], where) for option, value in options.items()}
    return Method(name, {**known[name], **found})


def _whole(given: Any, name: str, least: int, where: str) -> int:
    if type(given) is not int or given < least:
        raise ConfigError(f"{where}{name}={given!r} is no whole number from {least} on")
    return given


def _folds(content: Mapping[str, Any], name: str, where: str) -> int | None:
    given = content.get(name)
    return None if given is None else _whole(given, name, 2, where)


def _switch(given: Any, where: str) -> bool:
    if not isinstance(given, bool):
        raise ConfigError(f"{where}test={given!r} is not true or false")
    return given
