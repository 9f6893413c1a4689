"""A tree over labels as evaluation needs it: its levels, what lies below each node, how far labels are apart.

A node above every label tells nothing apart and is left out, unless it is a label; so level 1 is the first that does, as if one
root stood above all trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace
from medzoo.data.tree import ancestors


@dataclass(frozen=True)
class Tree:
    """A tree over labels.

    Attributes:
        labels: With parents.
    """

    labels: LabelSpace

    @cached_property
    def lines(self) -> dict[str, tuple[str, ...]]:
        """Label → the nodes from level 1 down to itself."""
        parent_of = dict(self.labels.parents or ())
        whole = {name: (*ancestors(parent_of, name)[::-1], name) for name in self.labels.names}
        common = set.intersection(*(set(line) for line in whole.values())) - set(self.labels.names)
        return {name: tuple(node for node in line if node not in common) for name, line in whole.items()}

    @cached_property
    def depth_of(self) -> dict[str, int]:
        """Node → its level, from 1."""
        return {node: place + 1 for line in self.lines.values() for place, node in enumerate(line)}

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Every node, level by level, in the order of the labels below them."""
        return tuple(sorted(self.depth_of, key=lambda node: self.depth_of[node]))

    @cached_property
    def within(self) -> NDArray[np.bool_]:
        """(K, M): whether a label is a node or lies below it."""
        return np.array([[node in self.lines[name] for node in self.nodes] for name in self.labels.names])

    @property
    def depth(self) -> int:
        """The number of levels."""
        return max(self.depth_of.values())

    def cut(self, depth: int) -> dict[str, list[int]]:
        """Return the nodes that part exclusive labels at a level → places of their labels; a label above it stands for itself."""
        parts: dict[str, list[int]] = {}
        for place, name in enumerate(self.labels.names):
            line = self.lines[name]
            parts.setdefault(line[min(depth, len(line)) - 1], []).append(place)
        return parts

    def level(self, depth: int) -> list[int]:
        """Return the places of the nodes of a level among `nodes`."""
        return [place for place, node in enumerate(self.nodes) if self.depth_of[node] == depth]

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """(K, K): steps from one label to another by way of the lowest node that both lie below."""
        shared = self.within.astype(np.float64) @ self.within.T
        depths = np.diag(shared)
        apart: NDArray[np.float64] = depths[:, None] + depths[None, :] - 2 * shared
        return apart

    def label_steps(self) -> list[tuple[int, int]]:
        """Return (child, parent) places of labels whose nearest label above is the other."""
        names = self.labels.names
        steps = []
        for place, name in enumerate(names):
            above = [node for node in self.lines[name][:-1] if node in names]
            if above:
                steps.append((place, names.index(above[-1])))
        return steps
