"""Which corruptions a dataset is tried by: those of its modality, or the user's; what cannot be done is told."""

from __future__ import annotations

from typing import Any

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.corruptions.amounts import FURTHER, MEDMNIST_C, OF_VOLUMES, SET_OF
from medzoo.data.samples.corruptions.apply import CORRUPTIONS, why_not
from medzoo.data.samples.corruptions.volumes import require_torchio


def choose_corruptions(asked: Any, modality: str, colours: int, *, volume: bool) -> tuple[list[str], dict[str, str]]:
    """Return what is tried, and what is not with the reason.

    Args:
        asked: `auto`, or names.
        modality: Of the dataset.
        colours: Channels of its images without alpha.
        volume: Whether they are volumes.

    Raises:
        UnknownNameError: If a name is unknown.
        ConfigError: If nothing is asked for or left, or a name comes twice.
        MissingDependencyError: If TorchIO, which one of them needs, is not installed.
    """
    if asked == "auto":
        names = [*MEDMNIST_C[SET_OF.get(modality, "chestmnist")], *FURTHER.get(modality, ()), *(OF_VOLUMES if volume else ())]
    elif isinstance(asked, list | tuple) and asked and all(isinstance(name, str) for name in asked):
        names = list(asked)
    else:
        raise ConfigError(f"corruptions={asked!r} is neither auto nor a list of names; choose of {', '.join(CORRUPTIONS)}")
    for name in names:
        if name not in CORRUPTIONS:
            raise UnknownNameError("corruption", name, CORRUPTIONS)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"corruptions names {twice} twice")
    left_out = {name: why for name in names if (why := why_not(name, colours, volume))}
    chosen = [name for name in names if name not in left_out]
    if not chosen:
        raise ConfigError(f"none of these corruptions can be tried: {'; '.join(left_out.values())}")
    if any(CORRUPTIONS[name].needs == "volume" for name in chosen):
        require_torchio()
    return chosen, left_out
