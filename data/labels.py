"""What a model learns to say: label spaces and concept spaces.

Missing or uncertain is NaN, never 0, everywhere in medzoo; every loss and metric masks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medzoo.data.errors import DatasetError, UnknownNameError
from medzoo.data.tree import Parents, check_parents

LabelKind = Literal["multiclass", "multilabel", "ordinal", "regression"]


@dataclass(frozen=True)
class LabelSpace:
    """The kind and the names of a dataset's targets; a sample's target is a float32 vector of `width` values.

    Attributes:
        kind: `multiclass` (exclusive classes; binary is K=2), `multilabel` (independent yes/no findings), `ordinal`
            (exclusive grades whose order counts) or `regression` (quantities).
        names: Class, finding, grade or quantity names, in index order; unique and not empty.
        units: One unit a name (`"letters"`, `"um"`), for regression alone.
        parents: What is a kind of what, (child, parent) by step, of a tree whose inner nodes need not be names; None without one.

    Raises:
        DatasetError: On an unknown kind, a repeated or empty name, fewer than two exclusive classes, misplaced units, or parents
            that are no tree.
    """

    kind: LabelKind
    names: tuple[str, ...]
    units: tuple[str, ...] | None = None
    parents: Parents | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        if self.units is not None:
            object.__setattr__(self, "units", tuple(self.units))
        if self.kind not in get_args(LabelKind):
            raise UnknownNameError("label kind", self.kind, get_args(LabelKind))
        _check_names("label", self.names)
        if self.exclusive and len(self.names) < 2:
            raise DatasetError(f"{self.kind} labels need at least two classes, got {list(self.names)}")
        if self.units is not None and (self.kind != "regression" or len(self.units) != len(self.names)):
            raise DatasetError("units are for regression labels, one for each name")
        if self.parents is not None:
            if self.kind == "regression":
                raise DatasetError(
                    "data.parents is a tree of classes or findings, and regression labels are quantities; leave it out"
                )
            object.__setattr__(self, "parents", check_parents(self.parents, self.names))

    @property
    def width(self) -> int:
        """Number of values in a target vector (K)."""
        return len(self.names)

    @property
    def exclusive(self) -> bool:
        """Whether exactly one class holds for a labelled sample (multiclass and ordinal)."""
        return self.kind in ("multiclass", "ordinal")

    @property
    def one_unit(self) -> bool:
        """Whether errors of all quantities may be averaged as they are: there is one, or all are said to have the same unit."""
        return self.width == 1 or (self.units is not None and len(set(self.units)) == 1)

    def index(self, name: str) -> int:
        """Return a class's position.

        Raises:
            UnknownNameError: If there is no such class; the message offers the nearest name.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise UnknownNameError("class", name, self.names) from None

    def one_hot(self, codes: ArrayLike) -> NDArray[np.float32]:
        """Turn class codes into target vectors.

        Args:
            codes: (N,) class indices; NaN, None or a negative number where the label is missing.

        Returns:
            (N, K) float32, one-hot; a row of NaN where the label is missing.

        Raises:
            DatasetError: If the space is not exclusive, or a code is not a whole number below K.
        """
        if not self.exclusive:
            raise DatasetError(f"class codes need multiclass or ordinal labels, not {self.kind}")
        values = np.asarray(codes, dtype=np.float64)
        missing = np.isnan(values) | (values < 0)
        whole = np.where(missing, 0, values)
        bad = (whole != np.floor(whole)) | (whole >= self.width)
        if bad.any():
            raise DatasetError(f"class code {values[bad][0]:g} is not one of 0..{self.width - 1} ({int(bad.sum())} such rows)")
        targets = np.zeros((len(values), self.width), dtype=np.float32)
        targets[np.arange(len(values)), whole.astype(np.int64)] = 1.0
        targets[missing] = np.nan
        return targets

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        described: dict[str, Any] = {"kind": self.kind, "names": list(self.names)}
        if self.units is not None:
            described["units"] = list(self.units)
        if self.parents is not None:  # written where there is a tree alone: what was described before keeps its hash
            described["parents"] = dict(self.parents)
        return described

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> LabelSpace:
        """Rebuild a label space from `to_dict`."""
        parents = described.get("parents")
        return cls(
            described["kind"], described["names"], described.get("units"), None if parents is None else tuple(parents.items())
        )


@dataclass(frozen=True)
class ConceptSpace:
    """Names of human-readable attributes that are annotated 0, 1 or NaN (missing), and how they group.

    Attributes:
        names: Concept names, in column order; unique and not empty.
        groups: Group name → concepts of that group (mutually related attributes, corrected together in interventions).
            Every concept in at most one group; may be empty.
    """

    names: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        _check_names("concept", self.names)
        groups = {group: tuple(members) for group, members in (self.groups or {}).items()}
        object.__setattr__(self, "groups", groups)
        seen: set[str] = set()
        for group, members in groups.items():
            for member in members:
                if member not in self.names:
                    raise UnknownNameError("concept", member, self.names, where=f" in group {group!r}")
                if member in seen:
                    raise DatasetError(f"concept {member!r} stands in two groups")
                seen.add(member)

    @property
    def width(self) -> int:
        """Number of concepts."""
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        return {"names": list(self.names), "groups": {g: list(m) for g, m in (self.groups or {}).items()}}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> ConceptSpace:
        """Rebuild a concept space from `to_dict`."""
        return cls(described["names"], described.get("groups"))

    def subset(self, names: Sequence[str]) -> ConceptSpace:
        """Return some of the concepts, in this space's order, with what is left of its groups."""
        kept = tuple(name for name in self.names if name in set(names))
        groups = {group: tuple(n for n in members if n in kept) for group, members in (self.groups or {}).items()}
        return ConceptSpace(kept, {group: members for group, members in groups.items() if members} or None)


def _check_names(kind: str, names: Sequence[str]) -> None:
    if not names:
        raise DatasetError(f"no {kind} names given")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(f"{kind} name {name!r} is empty or not text")
    repeated = {n for n in names if list(names).count(n) > 1}
    if repeated:
        raise DatasetError(f"{kind} name {sorted(repeated)[0]!r} is given twice")


def probabilities(logits: NDArray[Any], labels: LabelSpace) -> NDArray[Any]:
    """Turn (N, K) logits into what they mean: softmax, sigmoid, or the values themselves for regression."""
    if labels.kind == "regression":
        return logits
    return softmax(logits) if labels.exclusive else sigmoid(logits)


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / (1 + e⁻ˣ) of every logit, in their own precision; 0 where e⁻ˣ is beyond it (float32: below −88)."""
    with np.errstate(over="ignore"):  # 1 / infinity is the 0 it should be
        odds: NDArray[Any] = 1 / (1 + np.exp(-logits))
    return odds


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return each row of (N, K) finite logits as shares that sum to 1, in their own precision."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[Any] = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def log_sum_exp(values: NDArray[Any]) -> NDArray[Any]:
    """Return (N,) ln Σ eˣ of each row of (N, K) finite values, in their own precision."""
    top = values.max(axis=1)
    result: NDArray[Any] = top + np.log(np.exp(values - top[:, None]).sum(axis=1))
    return result


def log_odds(logits: NDArray[Any], labels: LabelSpace) -> NDArray[np.float64]:
    """Return (N, K) log-odds of each class or finding from (N, K) finite logits, in float64.

    They order samples as probabilities do, without the ties of those that round to 0 or 1: of a finding the logit itself, of an
    exclusive class how far its logit stands above those of all others together. Not for quantities.
    """
    values = np.asarray(logits, np.float64)
    if not labels.exclusive:
        return values
    shifted = values - values.max(axis=1, keepdims=True)
    others = np.stack([log_sum_exp(np.delete(shifted, k, axis=1)) for k in range(labels.width)], axis=1)
    return np.asarray(shifted - others, np.float64)


def descendants(ontology: Mapping[str, Sequence[str]], node: str) -> tuple[str, ...]:
    """Return the leaves below a node, each once, in the order of the lists; a leaf's own are itself alone.

    Args:
        ontology: Node → its children (as Derm1M's `ontology.json`, Yan et al. 2025); a leaf has none or is no key.
        node: Where to start.

    Raises:
        UnknownNameError: If there is no such node.
        DatasetError: If a node lies below itself; names the circle.
    """
    known = {*ontology, *(child for children in ontology.values() for child in children)}
    if node not in known:
        raise UnknownNameError("ontology node", node, known)
    leaves: dict[str, None] = {}
    done: set[str] = set()
    path, waiting = [node], [iter(ontology.get(node, ()))]
    while path:
        child = next(waiting[-1], None)
        if child is None:
            if not ontology.get(path[-1]):
                leaves[path[-1]] = None
            done.add(path.pop())
            waiting.pop()
        elif child in path:
            raise DatasetError(f"ontology: {' > '.join([*path[path.index(child) :], child])} is a circle; remove one step of it")
        elif child not in done:
            path.append(child)
            waiting.append(iter(ontology.get(child, ())))
    return tuple(leaves)
