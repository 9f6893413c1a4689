"""From trained runs to one ensemble, or to one network whose weights are the mean of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.trained import is_run
from medzoo.store.checkpoint import find_checkpoint, load_weights, weights_checksum
from medzoo.store.reading import read_otherwise
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bags import views_of
from medzoo.tasks.ensemble import HOWS, Ensemble
from medzoo.tasks.load import load_checkpoint, task_from_spec
from medzoo.tasks.setup.questions import other_labels
from medzoo.tasks.setup.source import library_versions
from medzoo.tasks.task import Task

LIKE = ("family", "task", "architecture", "arguments", "preprocess", "labels", "concepts", "objective", "head")
"""Fields of a spec that networks share whose weights are averaged."""


@dataclass(frozen=True)
class Member:
    """A trained run that takes part.

    Attributes:
        path: Its directory.
        task: With the weights of the checkpoint that was asked for.
        weights: Their SHA-256.
        settings: Its configuration.
    """

    path: Path
    task: Task
    weights: str
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, checkpoint: str, settings: Mapping[str, Any]) -> Member:
        """Read a run's checkpoint; CheckpointError if there is none, ConfigError if it has no labels."""
        folder = find_checkpoint(path, checkpoint)
        task = load_checkpoint(folder)
        if task.spec.targets:
            raise ConfigError(f"{path} answers for several targets, and an ensemble's members for one; train it on one target")
        if task.embedder is not None or task.spec.labels is None:
            raise ConfigError(f"{path} has no labels to vote on ({task.spec.architecture}); give runs of labelled models")
        return cls(path, task, weights_checksum(folder), settings)

    @property
    def card(self) -> dict[str, str]:
        """What is kept of it in words."""
        return {"run": self.path.resolve().name, "architecture": self.task.spec.architecture, "weights": self.weights}


def check_members(members: Sequence[Member]) -> None:
    """Refuse runs that do not answer the same question of the same kind of image.

    Raises:
        ConfigError: With the first that differs, and in what.
    """
    if len(members) < 2:
        raise ConfigError("an ensemble takes at least two runs; give their directories")
    first = members[0]
    seen: dict[str, Path] = {}
    for place, member in enumerate(members):
        if member.task.reads_modalities:
            raise ConfigError(
                f"{member.path} answers by several modalities, and an ensemble shows its members one image alone; leave it out, "
                "and compare such runs with medzoo compare"
            )
        if any(member.weights == other.weights for other in members[:place]):
            raise ConfigError(f"{member.path} and {seen[member.weights]} are the same weights; give each once")
        inside = [member.weights, *_inside(member.task.spec.to_dict())]
        for weights in inside:
            if weights in seen:
                raise ConfigError(
                    f"{member.path} and {seen[weights]} hold the same trained network, which would vote twice: give the runs "
                    "that they were made of, each once"
                )
        seen |= dict.fromkeys(inside, member.path)
        one, other = first.task.spec, member.task.spec
        if apart := other_labels(other, one):
            raise ConfigError(
                f"{member.path} has other labels than {first.path}: {apart}; members must have the same, in the same order"
            )
        for name, kept, given in (
            ("channels", one.preprocess.channels, other.preprocess.channels),
            ("dtype", one.preprocess.dtype, other.preprocess.dtype),
            ("dimensions", len(one.preprocess.size), len(other.preprocess.size)),
            *read_otherwise(one, other),
        ):
            if kept != given:
                raise ConfigError(f"{member.path} takes images of {name} {given}, {first.path} of {kept}: no one image is both")
        if views_of(one) != views_of(other):
            ours, theirs = (", ".join(views_of(spec)) or "nothing" for spec in (one, other))
            raise ConfigError(
                f"{member.path} reads of the members of a bag that they show {theirs}, {first.path} {ours}: no one bag is both"
            )
        if one.data.get("views", 1) != other.data.get("views", 1):
            raise ConfigError(f"{member.path} and {first.path} take cases of another number of views; give runs of one dataset")


def _inside(spec: Mapping[str, Any]) -> list[str]:
    """Return the checksums of the weights that an ensemble holds, and those within them; none of a single network."""
    if spec.get("task") != "ensemble":
        return []
    own = [str(run["weights"]) for run in spec["objective"]["runs"]]
    return own + [weights for member in spec["arguments"]["members"] for weights in _inside(member)]


def ensemble_of(members: Sequence[Member], how: str, votes: Sequence[float]) -> Ensemble:
    """Return the ensemble of some members that `check_members` passed; `votes` are at least 0 and sum to 1."""
    assert how in HOWS
    first = members[0].task.spec
    several = first.data.get("views", 1) > 1 or "row_width" in first.data or first.data.get("options", {}).get("bag") is not None
    if how == "probabilities" and several and members[0].task.bag_input is None:
        raise ConfigError(
            "cases of several images are averaged by their logits, which the mean of probabilities is not; use --how logits"
        )
    spec = ModelSpec(
        family="ensemble", task="ensemble", architecture="+".join(dict.fromkeys(m.task.spec.architecture for m in members)),
        preprocess=first.preprocess, labels=first.labels,
        arguments={"members": [member.task.spec.to_dict() for member in members]},
        objective={
            "loss": f"mean of {how}", "how": how, "votes": list(map(float, votes)), "runs": [member.card for member in members],
        },
        data=_data(members), versions=library_versions(),
    )  # fmt: skip
    return Ensemble(spec, [member.task for member in members])


def averaged(members: Sequence[Member]) -> Task:
    """Return one network whose weights are the mean of the members'; its batch normalisation is not set yet.

    Raises:
        ConfigError: If they differ in more than what was drawn, or did not start from the same weights: the mean of unrelated
            networks is none.
    """
    first = members[0]
    spec = first.task.spec
    for member in members[1:]:
        ours, theirs = spec.to_dict(), member.task.spec.to_dict()
        for name in LIKE:
            if ours.get(name) != theirs.get(name):
                raise ConfigError(f"{member.path} differs from {first.path} in its {name}: weights are averaged of like networks")
        one, other = (_start(of) for of in (first, member))
        if one != other:
            raise ConfigError(
                f"{member.path} and {first.path} did not start from the same weights ({other}; {one}): the mean of unrelated "
                "networks is none; train both from one run (model.backbone=<run>), or let them vote (--how probabilities)"
            )
    if not first.task.learns_by_steps:
        raise ConfigError(f"{first.path}: {first.task.trains_nothing} has no trained network whose weights could be averaged")
    data = {**_data(members), "averaged": [member.card for member in members]}
    task = task_from_spec(replace(spec, data=data, training=None), first.task.assets())
    load_weights(task.model, _mean([member.task.model.state_dict() for member in members]), first.path)
    return task.eval()


def batch_norms(network: nn.Module) -> list[Any]:
    """Return the layers whose running statistics are those of other weights after averaging."""
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return [module for module in network.modules() if isinstance(module, kinds) and module.running_mean is not None]


def _mean(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each tensor, in float64; whole numbers are the first one's."""
    found = {}
    for name, tensor in states[0].items():
        if not tensor.is_floating_point():
            found[name] = tensor.clone()
            continue
        found[name] = torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
    return found


def _start(member: Member) -> str:
    """Return what a run's first weights were, in words that are equal where they were; ConfigError if it cannot be told."""
    model = member.settings["model"]
    name = str(model["backbone"])
    if is_run(name):
        return f"the run with weights {weights_checksum(find_checkpoint(Path(name).expanduser()))[:12]}"
    if member.task.spec.initial_weights is not None:
        return f"the file {member.task.spec.initial_weights.get('sha256', member.task.spec.initial_weights)}"
    if model.get("pretrained"):
        return f"the published weights of {name}"
    if ":" not in name and name != member.task.spec.architecture:  # a run's directory, of which nothing is known but its path
        raise ConfigError(
            f"{member.path} started from the run {name}, which is not there: whether the members started from the same weights "
            "cannot be told; run this where that path leads to it, or let them vote (--how probabilities)"
        )
    return f"random weights of seed {member.settings['seed']}"


def _data(members: Sequence[Member]) -> dict[str, Any]:
    """Return the first member's card, with those of other data that any member has learnt from."""
    cards = [dict(member.task.spec.data) for member in members]
    others = [card for card in cards[1:] if card.get("table") != cards[0].get("table")]
    earlier = [*cards[0].get("learnt_from", []), *others]
    for card in cards[1:]:
        earlier += [one for one in card.get("learnt_from", []) if one not in earlier]
    return {**cards[0], "learnt_from": earlier} if earlier else cards[0]
