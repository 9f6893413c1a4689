"""Everything a training needs to go on as if it had never stopped: tensors in safetensors, scalars in JSON.

There is no random state in it: every draw is a function of (seed, epoch, sample or step).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.registry import PLACES
from medzoo.store.checkpoint import load_weights, tensors_from_file, tensors_to_bytes
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import pointed_folder, prune, write_folder
from medzoo.train.sharding import is_whole, shared_like, spread, whole

POINTER = "latest"
TENSORS = "tensors.safetensors"
SCALARS = "state.json"
RESUMABLE = (
    "trainer.workers", "trainer.profile", "trainer.fsdp", "device", "evaluate", "debug",
    *(f"data.{name}" for name in (*PLACES, "file")),
)  # fmt: skip
"""What may differ when a run goes on: none of it changes a number. A table is told by its content, wherever it lies."""


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: 0-based epoch under way.
        batch: Forward passes done in it.
        step: Optimizer steps done in all.
        loss_sum: Sum of the loss over what was observed in this epoch so far.
        loss_count: How much that was.
        best: Best monitored value so far; None before the first epoch's end.
        best_epoch: 1-based epoch of it.
        stale_epochs: Epochs since.
        finished: Whether training is over (all epochs, or stopped early).
        history: One row an epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    stale_epochs: int = 0
    finished: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Resumable:
    """What a training goes on with.

    Attributes:
        folder: Where states are kept.
        model: The network.
        optimizer: Its optimizer.
        average: The network's moving average, or None.
        scaler: Of fp16, or None.
        spec_hash: Of the model: a state of another is refused.
        settings: The run's configuration as YAML; kept, but for what changes no number, for `refuse_changed_settings`.
        beside: Returns the tensors that are learnt beside the network, by name: weights of groups, a projection. Restored in
            place. Asked each time, for what wraps a task for several processes may give it other tensors.
    """

    folder: Path
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None
    scaler: torch.amp.GradScaler | None
    spec_hash: str
    settings: str
    beside: Callable[[], Mapping[str, Tensor]] = dict

    def save(self, progress: Progress, sums: Mapping[str, Tensor], writes: bool = True) -> None:
        """Write a resumable state and point to it; the one before is removed only then.

        `sums` are those of the epoch's metrics so far. All processes call it together, and one of them `writes`.

        Raises:
            TrainingError: If it cannot be written; the last state stands.
        """
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        if self.average is not None:
            tensors.update({f"average.{name}": t for name, t in self.average.state_dict().items()})
        tensors.update({f"live.{name}": t for name, t in sums.items()})
        tensors.update({f"beside.{name}": t for name, t in self.beside().items()})
        described = self.optimizer.state_dict()
        groups, held = _groups_to_json(described["param_groups"])
        tensors.update(held)
        scalars: dict[str, dict[str, Any]] = {}
        for index, values in described["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{key}"] = value
                else:
                    scalars.setdefault(str(index), {})[key] = value
        tensors = whole(tensors, writes)
        if not writes:
            return
        content = {
            "spec": self.spec_hash,
            "settings": _numbers_settings(self.settings),
            "progress": asdict(progress),
            "optimizer": {"groups": groups, "scalars": scalars},
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
        }
        files = {TENSORS: tensors_to_bytes(tensors), SCALARS: json.dumps(content, indent=1).encode("utf-8")}
        write_folder(self.folder, f"step-{progress.step:08d}-{progress.epoch:05d}-{progress.batch:06d}", files, POINTER)
        prune(self.folder, [POINTER])

    def restore(self) -> tuple[Progress, dict[str, Tensor]]:
        """Load the latest state into model, optimizer, average and scaler; returns progress and the sums of its metrics.

        Raises:
            CheckpointError: If there is none, it is damaged, or it is of another model.
        """
        state = pointed_folder(self.folder, POINTER)
        if state is None:
            raise CheckpointError(
                f"nothing to resume in {self.folder.parent}: no state was saved; start anew with another run=..."
            )
        try:
            content = json.loads((state / SCALARS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{state / SCALARS} is damaged: {error}") from error
        if content["spec"] != self.spec_hash:
            raise CheckpointError(f"the state in {state} is of another model than {self.folder.parent / 'spec.json'}")
        tensors = tensors_from_file(state / TENSORS)
        load_weights(self.model, spread(_under(tensors, "model."), self.model.state_dict()), state)
        if self.average is not None:
            load_weights(self.average, spread(_under(tensors, "average."), self.average.state_dict()), state)
        saved = _under(tensors, "beside.")
        beside = self.beside()
        if set(saved) != set(beside):
            raise CheckpointError(f"the state in {state} is of a training with other groups or another teacher; start anew")
        for name, tensor in saved.items():
            beside[name].copy_(shared_like(tensor, beside[name]))
        values: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in content["optimizer"]["scalars"].items()}
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for name, tensor in _under(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            values.setdefault(int(index), {})[key] = shared_like(tensor, parameters[int(index)])
        groups = []
        for place, (group, own) in enumerate(zip(content["optimizer"]["groups"], self.optimizer.param_groups, strict=True)):
            # How the step is computed is the device's matter: a state may be of another.
            ours = {k: v for k, v in own.items() if k in ("fused", "foreach") or isinstance(v, torch.dtype)}
            groups.append({**_tuples(group), **_under(tensors, f"group.{place}."), **ours})
        self.optimizer.load_state_dict({"state": values, "param_groups": groups})
        _lay_out(self.optimizer)
        if self.scaler is not None and content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        return Progress(**content["progress"]), _under(tensors, "live.")


def refuse_changed_settings(run: RunDirectory) -> None:
    """Refuse to go on where config.yaml was edited since the last state: the run would be of neither configuration.

    Raises:
        ConfigError: It names the first setting that is another one now.
    """
    state = pointed_folder(run.state, POINTER)
    try:
        kept = None if state is None else json.loads((state / SCALARS).read_text(encoding="utf-8")).get("settings")
    except (OSError, ValueError):
        return  # `Resumable.restore` says what is wrong with it
    if kept is None:  # of an earlier medzoo
        return
    now = json.loads(json.dumps(_numbers_settings(run.config.read_text(encoding="utf-8"))))
    for name in sorted(kept.keys() | now.keys()):
        if kept.get(name) != now.get(name):
            raise ConfigError(
                f"{run.config}: {name} is {now.get(name)!r} now and was {kept.get(name)!r} when training was stopped; put it "
                f"back, or start a new run with it (model.backbone={run.path} starts from these weights)"
            )


def training_left(run: RunDirectory) -> str:
    """Return what is to be said of a run whose training was stopped before its end; empty of one that came to it.

    A run that was sent without its state is judged by its history; one with `patience` passes then.
    """
    trainer = run.settings().get("trainer") or {}
    planned, state = trainer.get("epochs"), pointed_folder(run.state, POINTER)
    try:
        progress = {} if state is None else json.loads((state / SCALARS).read_text(encoding="utf-8"))["progress"]
    except (OSError, ValueError, KeyError):
        progress = {}
    if progress:
        done, finished = progress["epoch"], progress["finished"]
    elif run.history.is_file() and isinstance(planned, int):
        header, *rows = run.history.read_text(encoding="utf-8").splitlines() or [""]
        if not header.startswith("epoch,"):  # of a solved probe: a row a penalty
            return ""
        done = len(rows)
        finished = done >= planned or trainer.get("patience") is not None
    else:
        return ""
    return "" if finished else f"training was stopped after epoch {done} of {planned}"


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's tensors the order in memory of their parameters, which a fused step needs; files keep none."""
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if is_whole(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def _numbers_settings(text: str) -> dict[str, Any]:
    """Return the settings of a YAML that a training's numbers may follow from, by dotted names; lists are one setting each."""
    return {
        name: value for name, value in _flat(yaml.safe_load(text)).items()
        if name != "run" and name not in RESUMABLE and not name.startswith("evaluation.")
    }  # fmt: skip


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def _groups_to_json(groups: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Return an optimizer's groups without what JSON cannot hold, and their tensors by name (LAMB counts its steps in one).

    The kind of number that an optimizer computes in is a setting of its own, which one made anew has again.
    """
    kept = [{k: v for k, v in group.items() if not isinstance(v, Tensor | torch.dtype)} for group in groups]
    held = {f"group.{i}.{k}": v for i, group in enumerate(groups) for k, v in group.items() if isinstance(v, Tensor)}
    return kept, held


def _tuples(group: dict[str, Any]) -> dict[str, Any]:
    """Give back the tuples (betas) that JSON turned into lists; `params` stays a list."""
    return {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in group.items()}
