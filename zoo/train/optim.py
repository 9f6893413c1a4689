"""Optimizer and learning rate; the rate is a function of the step alone, so that resuming has nothing to restore."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from inspect import signature
from random import Random
from typing import Any

import timm.optim
import torch
from torch import nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.models.finetune import parameter_groups
from medzoo.settings.schema import TrainerConfig

SCHEDULES = ("cosine", "constant", "step")


def make_optimizer(
    model: nn.Module, config: TrainerConfig, beside: Sequence[nn.Parameter] = (), *, one_by_one: bool = False
) -> torch.optim.Optimizer:
    """Create the optimizer over a network's trainable parameters; no weight decay on biases and norms.

    On a GPU its step is one kernel for many parameters where torch has such a form (`fused`). What is learnt `beside` the network
    is a group of its own, without weight decay. `one_by_one`: no step is of several parameters, which are not all of one kind.

    Raises:
        UnknownNameError: If timm has no such optimizer.
        ConfigError: If nothing is trainable, a value is out of range, or it is none that a training can go on with.
    """
    known = timm.optim.list_optimizers()
    if config.optimizer not in known:
        raise UnknownNameError("optimizer", config.optimizer, known)
    if not 0 < config.learning_rate < math.inf:  # NaN is not, either
        raise ConfigError(f"trainer.learning_rate must be positive, got {config.learning_rate:g}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ConfigError("no parameter of the model is trainable")
    parameters: Any = model
    if config.layer_decay is not None:
        parameters = parameter_groups(model, config.weight_decay, config.layer_decay)
    on_gpu = next(model.parameters()).is_cuda
    try:
        known_to = signature(timm.optim.get_optimizer_class(config.optimizer, bind_defaults=False)).parameters
        fused = on_gpu and not one_by_one and "fused" in known_to
        optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
            parameters, opt=config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay, momentum=config.momentum,
            **({"fused": True} if fused else {}),
        )  # fmt: skip
    except (AssertionError, ImportError) as error:  # of another package, which asks for itself or a GPU by an assertion
        raise ConfigError(f"trainer.optimizer={config.optimizer} cannot be used here ({error}); choose another: adamw") from error
    if any(isinstance(held, Random | torch.Generator) for held in vars(optimizer).values()):
        raise ConfigError(
            f"trainer.optimizer={config.optimizer} draws numbers of its own, which no state keeps: a training could not be gone "
            "on with to the same bits; choose another: adamw"
        )
    for group in optimizer.param_groups:
        group.setdefault("lr_scale", 1.0)
        if one_by_one:
            group["foreach"] = False
    _part_faster_layers(optimizer, model)
    if beside:
        optimizer.add_param_group({"params": list(beside), "weight_decay": 0.0, "lr_scale": 1.0})
    return optimizer


def _part_faster_layers(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Give parameters that a network wants trained faster (`learning_rate_scales`: name → factor) a group of their own."""
    scales: Mapping[str, float] = getattr(model, "learning_rate_scales", {})
    for name, parameter in model.named_parameters():
        if name not in scales or not parameter.requires_grad:
            continue
        for group in optimizer.param_groups:
            kept = [p for p in group["params"] if p is not parameter]
            if len(kept) < len(group["params"]):
                group["params"] = kept
                own = {**group, "params": [parameter], "lr_scale": group["lr_scale"] * scales[name]}
                own["weight_decay"] = group["weight_decay"] / scales[name]  # as strong a pull as on the rest
                optimizer.add_param_group(own)
                break


def learning_rate(
    step: int, *, steps: int, warmup: int, peak: float, final: float = 0.0, schedule: str = "cosine",
    milestones: Sequence[float] = ()
) -> float:  # fmt: skip
    """Return the learning rate of one optimizer step.

    Args:
        step: 0-based optimizer step.
        steps: Optimizer steps of the whole training.
        warmup: Steps of linear warm-up; step 0 has peak / (warmup + 1), so that it is never 0.
        peak: Rate after the warm-up.
        final: Where cosine ends (Loshchilov and Hutter 2017, equation 5, without restarts).
        schedule: `cosine`, `constant` or `step` (×0.1 after each milestone).
        milestones: Shares of the training, for `step`.

    Raises:
        UnknownNameError: On an unknown schedule.
    """
    if schedule not in SCHEDULES:
        raise UnknownNameError("schedule", schedule, SCHEDULES)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule == "cosine":
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return peak * 0.1 ** sum(step >= share * steps for share in milestones)
    return peak


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every parameter group, times the group's own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
