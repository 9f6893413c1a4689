"""What a model is: everything needed to rebuild or deploy it, frozen when training starts (`spec.json`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medzoo.data.errors import CheckpointError, MedzooError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.samples.preprocess import Preprocess

FORMAT = 1
NAMES, MAPPINGS = ("family", "task", "architecture"), ("arguments", "objective", "data", "versions")
"""Fields that JSON holds as they are."""


@dataclass(frozen=True)
class ModelSpec:
    """A model's identity card.

    Attributes:
        family: Registry family: `cnn`, `vit`, ...
        task: What drives it in training: `classify`, ...
        architecture: Backbone name within the family, such as `resnet18`.
        arguments: Keyword arguments of the architecture that change its shape (JSON values).
        preprocess: How images become its input.
        labels: What its class outputs mean; None for models without.
        concepts: What its concept outputs mean; None for models without.
        objective: What it was trained for, with the target statistics that decode its outputs (task's own form).
        data: Card of the training data (`DatasetInfo.to_dict`), its options and split sizes.
        versions: Library → version at training.
        head: What stands around the backbone, of `medzoo.models.build.HEADS`; None where it follows from the rest, as in
            specs that name none (`medzoo.models.build.head_of`).
        initial_weights: Of a weights file that training started from, its name, SHA-256 and what was taken from it
            (`medzoo.models.weights_file.LoadedWeights.card`); None without one.
        training: How the last layer was found, of a probe that was solved: the penalty, and every penalty tried with what it
            gave; None of what was trained by steps.
        targets: Of a model of several targets what the outputs of each mean, in their order; `labels` is None then.
    """

    family: str
    task: str
    architecture: str
    preprocess: Preprocess
    labels: LabelSpace | None = None
    concepts: ConceptSpace | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    head: str | None = None
    initial_weights: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    targets: Mapping[str, LabelSpace] = field(default_factory=dict)

    def preprocess_of(self, modality: str) -> Preprocess:
        """Return how the images of one of several modalities become its encoder's input; `preprocess` is the first one's."""
        return Preprocess.from_dict(self.arguments["encoders"][modality]["preprocess"])

    @property
    def label_space(self) -> LabelSpace:
        """The labels of a model that has them; CheckpointError of one that has none (image–text models), or several targets."""
        if self.targets:
            raise CheckpointError(
                f"the model answers for several targets ({', '.join(self.targets)}), and this is for models of one "
                "(docs/targets.md says what several have)"
            )
        if self.labels is None:
            raise CheckpointError(f"{self.architecture} ({self.family}) has no labels; use a model that was trained on labels")
        return self.labels

    def of_target(self, name: str) -> ModelSpec:
        """Return one of several targets' spec, as that of a model of it alone; UnknownNameError if there is no such target."""
        if name not in self.targets:
            raise UnknownNameError("target", name, self.targets)
        return replace(self, labels=self.targets[name], objective=self.objective["targets"][name]["objective"], targets={})

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready content of `spec.json`."""
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in NAMES},
            **{name: dict(getattr(self, name)) for name in MAPPINGS},
            "preprocess": self.preprocess.to_dict(),
            "labels": None if self.labels is None else self.labels.to_dict(),
            "concepts": None if self.concepts is None else self.concepts.to_dict(),
            **({"head": self.head} if self.head is not None else {}),
            **({"initial_weights": dict(self.initial_weights)} if self.initial_weights is not None else {}),
            **({"training": dict(self.training)} if self.training is not None else {}),
            **({"targets": [[name, labels.to_dict()] for name, labels in self.targets.items()]} if self.targets else {}),
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> ModelSpec:
        """Rebuild a spec; CheckpointError if its format is newer than this medzoo, or a field is missing or wrong."""
        if not isinstance(described, Mapping):
            raise CheckpointError(f"the model's spec is damaged: it is a {type(described).__name__}, not fields by name")
        if described.get("format") != FORMAT:
            raise CheckpointError(f"spec format {described.get('format')!r} is not {FORMAT}; update medzoo")
        try:
            return cls(
                **{name: described[name] for name in (*NAMES, *MAPPINGS)},
                preprocess=Preprocess.from_dict(described["preprocess"]),
                labels=None if described["labels"] is None else LabelSpace.from_dict(described["labels"]),
                concepts=None if described["concepts"] is None else ConceptSpace.from_dict(described["concepts"]),
                head=described.get("head"),
                initial_weights=described.get("initial_weights"),
                training=described.get("training"),
                targets={name: LabelSpace.from_dict(labels) for name, labels in described.get("targets", [])},
            )
        except (KeyError, TypeError, ValueError, AttributeError, MedzooError) as error:
            raise CheckpointError(f"the model's spec is damaged: {type(error).__name__}: {error}") from error

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, so that equal specs have equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()

    @classmethod
    def read(cls, path: Path) -> ModelSpec:
        """Read `spec.json`; CheckpointError if the file is missing or damaged."""
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"no spec at {path}; is this a medzoo checkpoint?") from None
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"cannot read {path}: {error}") from error
        return cls.from_dict(described)
