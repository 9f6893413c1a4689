"""What a network is made of, before it is made: one object for every maker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Blueprint:
    """A network by name and what changes its shape or its first weights.

    Its attributes are the arguments of `medzoo.models.registry.create_model`.
    """

    name: str
    outputs: int
    channels: int = 3
    size: tuple[int, ...] | None = None
    small_stem: bool = False
    pretrained: bool = False
    checkpoint_path: str | Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_weights(self) -> bool:
        """Whether it brings weights of its own."""
        return self.pretrained or self.checkpoint_path is not None
