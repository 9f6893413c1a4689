"""Devices, precision and trackers, all by accelerate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType
from omegaconf import OmegaConf

from medzoo.data.errors import ConfigError, MissingDependencyError, UnknownNameError
from medzoo.train.run import RunDirectory

PRECISIONS = ("no", "bf16", "fp16")


def make_accelerator(
    device: str, precision: str = "no", run: RunDirectory | None = None, trackers: list[str] | None = None
) -> Accelerator:
    """Create accelerate's handle on devices and precision.

    Raises:
        ConfigError: If the device or the precision is not known or not there.
        MissingDependencyError: If a tracker is not installed.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {device!r} is not auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but torch sees no GPU; use device=cpu or install a CUDA driver")
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and (device == "cpu" or not torch.cuda.is_available()):
        raise ConfigError("trainer.precision=fp16 needs a GPU; on a CPU use bf16 or no")
    unknown = sorted(set(trackers or []) - {t.value for t in LoggerType})
    if unknown:
        raise UnknownNameError("tracker", unknown[0], [t.value for t in LoggerType])
    available = {t.value for t in get_available_trackers()}
    for tracker in sorted(set(trackers or []) - available - {"all"}):
        raise MissingDependencyError(f"trainer.trackers names {tracker}, which is not installed: pip install {tracker}")
    # accelerate keeps one state a process; a sweep, or evaluation in float32 after bf16 training, needs another.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=precision,
        log_with=trackers or None,
        project_dir=str(run.path) if run is not None and trackers else None,
    )


def start_trackers(accelerator: Accelerator, trackers: Sequence[str], yaml: str, run: RunDirectory) -> None:
    """Open the trackers of an accelerator with the run's configuration, one flat entry a setting.

    Args:
        accelerator: Made with the same trackers.
        trackers: Names of trackers.
        yaml: The run's configuration.
        run: Names the run in trackers that keep many.

    Raises:
        ConfigError: If one does not start: no login, no server, a store of another kind.
    """
    settings = OmegaConf.to_container(OmegaConf.create(yaml))
    assert isinstance(settings, dict)
    flat = {key: value if isinstance(value, int | float | str | bool) else str(value) for key, value in _flat(settings)}
    # Each tracker's own words for the run's name.
    named = {"wandb": {"name": run.path.name, "dir": str(run.path)}, "mlflow": {"run_name": run.path.name}}
    # TensorBoard takes the name for a folder; the others for the project.
    project = "tensorboard" if list(trackers) == ["tensorboard"] else "medzoo"
    try:
        accelerator.init_trackers(project, config=flat, init_kwargs={k: named[k] for k in trackers if k in named})
    except Exception as error:  # each tracker has errors of its own
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(
            f"trainer.trackers={list(trackers)} cannot start ({reason}); mend that and go on with resume={run.path}, or train "
            "without it into another run=..."
        ) from error


def _flat(settings: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
