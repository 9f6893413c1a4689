"""How much of a network is trained: all of it, its last blocks, or its head alone; and how fast each depth learns."""

from __future__ import annotations

from typing import Any

from torch import nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.models.backbones.contract import depth_groups, head_modules
from medzoo.models.backbones.recompute import recompute_activations
from medzoo.settings.schema import TrainerConfig

FINETUNES = ("full", "partial", "linear")


def freeze(model: nn.Module, config: TrainerConfig) -> None:
    """Mark what shall not be trained.

    Raises:
        UnknownNameError: If `finetune` is not known.
        ConfigError: If the model has no such blocks, or its head is not one layer.
    """
    if config.finetune not in FINETUNES:
        raise UnknownNameError("trainer.finetune", config.finetune, FINETUNES)
    if config.finetune == "full":
        return
    groups = depth_groups(model) if config.finetune == "partial" else []
    if config.finetune == "partial" and not 1 <= config.unfreeze < len(groups):
        raise ConfigError(f"trainer.unfreeze={config.unfreeze} is not between 1 and {len(groups) - 1}, the blocks of this model")
    trained = {name for names in groups[len(groups) - config.unfreeze :] for name in names}
    head = {id(parameter) for module in head_modules(model) for parameter in module.parameters()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained or id(parameter) in head)


def set_training(model: nn.Module, config: TrainerConfig) -> None:
    """Put a network into training mode, but what is frozen into evaluation mode.

    Frozen batch normalisation then keeps its running statistics, and a linear probe drops nothing out, so that its features
    may be computed once.
    """
    if config.finetune == "linear":
        model.eval()
        for module in head_modules(model):
            module.train()
        return
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def recompute(model: nn.Module, config: TrainerConfig) -> None:
    """Let a network compute its activations again on the way back instead of keeping them, once `freeze` has marked its parts.

    ConfigError if the training keeps none, torch.compile decides what is kept, or the network has no blocks.
    """
    if config.finetune == "linear":
        raise ConfigError("trainer.checkpoint_activations has no effect on trainer.finetune=linear: leave it out")
    if config.compile:
        raise ConfigError("trainer.checkpoint_activations is not for trainer.compile, which decides what is kept: leave it out")
    recompute_activations(model)


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Return optimizer groups whose learning rate shrinks with the distance from the head (BEiT, Bao et al. 2022, appendix).

    Args:
        model: See `medzoo.models.backbones.contract.depth_groups`.
        weight_decay: Not on biases and norms.
        layer_decay: Factor for each block, in (0, 1]; the head has 1, the last block `layer_decay`, and so on.

    Raises:
        ConfigError: If the factor is out of range or the model does not tell its depth.
    """
    if not 0 < layer_decay <= 1:
        raise ConfigError(f"trainer.layer_decay={layer_decay:g} is not in (0, 1]")
    groups = depth_groups(model)
    depth = {name: level for level, names in enumerate(groups) for name in names}
    unwanted: set[str] = set(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else set()  # type: ignore[operator]
    made: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        level = depth.get(name, len(groups))
        decays = parameter.ndim > 1 and not name.endswith(".bias") and name not in unwanted
        entry = made.setdefault(
            (level, decays),
            {"params": [], "weight_decay": weight_decay if decays else 0.0, "lr_scale": layer_decay ** (len(groups) - level)},
        )
        entry["params"].append(parameter)
    return list(made.values())
