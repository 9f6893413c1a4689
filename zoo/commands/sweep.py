"""`medzoo train -m ...`: Hydra's own sweeps over our training, checked before the first job and ended by one line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_module

# The sweeper that runs by default also says which jobs there will be: a product of our own might be another one.
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medzoo.commands import train
from medzoo.data.errors import ConfigError, MedzooError
from medzoo.models.registry import check_backbone
from medzoo.models.trained import is_run
from medzoo.settings.compose import compose_config, parse_overrides, typed
from medzoo.settings.schema import TrainConfig
from medzoo.store.directory import RunDirectory

FLAGS = ("-m", "--multirun")
KNOWN_IN_THE_JOB = "${hydra:"
"""Values that Hydra gives to a running job alone."""


@dataclass(frozen=True)
class _Jobs:
    """What a sweep will run.

    Attributes:
        overrides: Of each job.
        swept: Keys that differ between jobs.
    """

    overrides: list[list[str]]
    swept: list[str]

    def name(self, index: int) -> str:
        """Return what a message calls a job."""
        return _name(index, self.overrides[index], self.swept)


def sweep(overrides: Sequence[str], config_dir: Path | None) -> int:
    """Hand over to Hydra; each job gets its own run directory under `multirun/<date>/<time>/<job>`.

    Args:
        overrides: Hydra overrides and flags, `-m` among them.
        config_dir: A folder of the user's own YAML.

    Returns:
        The exit status, 0.

    Raises:
        MedzooError: On a mistake of the user's: of any job's configuration before the first one trains, of what only
            training finds after the others have run, as Hydra's sweeps go.
    """
    swept: list[str] = []
    if not any(word.startswith("-") and word not in FLAGS for word in overrides):  # such as --help: Hydra's own business
        jobs = _jobs([word for word in overrides if word not in FLAGS])
        if jobs is not None:
            _check(jobs, config_dir)
            swept = jobs.swept
    failures: list[MedzooError] = []
    process = os.getpid()

    @hydra.main(version_base="1.3", config_path="pkg://medzoo.conf", config_name="train")
    def job(config: DictConfig) -> None:
        info = HydraConfig.get()
        if config.run is None:
            config = OmegaConf.merge(config, {"run": str(Path(info.runtime.output_dir) / "run")})  # type: ignore[assignment]
        try:
            train.main(config)
        except MedzooError as error:
            failure = MedzooError(f"{_name(info.job.num, list(info.overrides.task), swept)}: {error}")
            failure.__cause__ = error
            if os.getpid() != process:  # a launcher with processes of its own: Hydra brings the error back, our list it cannot
                raise failure from error
            print(f"failed: {failure}", flush=True)
            failures.append(failure)

    with _hydra_errors(["medzoo-train", *overrides, *([] if config_dir is None else ["--config-dir", str(config_dir)])]):
        job()
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise MedzooError(f"{len(failures)} jobs failed: {'; '.join(map(str, failures))}") from failures[0]
    return 0


def _jobs(overrides: Sequence[str]) -> _Jobs | None:
    """Return the jobs of a sweep; None where another sweeper than Hydra's basic one chooses them as it goes."""
    GlobalHydra.instance().clear()
    with initialize_config_module("medzoo.conf", version_base="1.3"):
        parsed = parse_overrides(overrides, GlobalHydra.instance().config_loader())
    if any(override.key_or_group.startswith(("hydra/sweeper", "hydra.sweeper")) for override in parsed):
        return None
    own = [override for override in parsed if not override.key_or_group.startswith(("hydra.", "hydra/"))]
    if any(override.key_or_group == "resume" for override in own):
        raise ConfigError("resume= goes on with one run and takes no sweep; leave out -m")
    try:
        (jobs,) = BasicSweeper.split_arguments(own, None)
    except HydraException as error:
        raise ConfigError(str(error)) from error
    return _Jobs(jobs, [override.get_key_element() for override in own if override.is_sweep_override()])


def _check(jobs: _Jobs, config_dir: Path | None) -> None:
    """Check what costs no training: that every job composes, names a model there is, and has a run directory of its own."""
    taken: dict[Path, int] = {}
    for index, overrides in enumerate(jobs.overrides):
        try:
            config = compose_config("train", overrides, config_dir)
            raw: Any = OmegaConf.to_container(config, resolve=False)
            if KNOWN_IN_THE_JOB in str(raw["run"]):
                config.run = raw["run"] = None
            if KNOWN_IN_THE_JOB in str(raw):
                continue
            settings = typed(TrainConfig, config)
            if not is_run(settings.model.backbone):
                check_backbone(settings.model.backbone, settings.model.family)
            if settings.run is None:
                continue
            run = RunDirectory(Path(settings.run))
            if os.environ.get("RANK", "0") == "0":  # under torchrun, rank 0 may have started to fill it
                run.require_empty()
        except MedzooError as error:
            raise ConfigError(f"{jobs.name(index)}: {error}") from error
        first = taken.setdefault(run.path.absolute(), index)
        if first != index:
            raise ConfigError(
                f"run={raw['run']} is one run directory for {jobs.name(first)} and {jobs.name(index)}; leave run out, or give "
                f"each job its own: run='{raw['run']}{_suffix(config, str(raw['run']), jobs.swept)}'"
            )


def _suffix(config: DictConfig, run: str, swept: Sequence[str]) -> str:
    """Return what makes a run directory differ between jobs: the swept settings' values, or the job's number."""
    keys = [key.lstrip("+") for key in swept]
    values = [OmegaConf.select(config, key) for key in keys]
    if any(value is None or OmegaConf.is_config(value) for value in values):  # a group, or what no name can be made of
        return "-${hydra:job.num}"
    return "".join(f"-${{{key}}}" for key in keys if f"${{{key}}}" not in run)


def _name(index: int, overrides: Sequence[str], swept: Sequence[str]) -> str:
    differing = [override for override in overrides if override.partition("=")[0] in swept]
    return f"job {index} ({' '.join(differing or overrides)})"


@contextlib.contextmanager
def _hydra_errors(arguments: list[str]) -> Iterator[None]:
    """Give Hydra its command line, and let errors come out instead of a traceback of its own and exit status 1."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = arguments, "1"
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from error
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full
