"""Tasks by name: what a spec calls them, and those of other packages.

A third-party task joins by the entry-point group `medzoo.tasks` (name → a class derived from `medzoo.tasks.task.Task`): its
name is `model.family` in a configuration and `task` in the specs it writes; docs/adding-a-model.md.
"""

from __future__ import annotations

from importlib import metadata

from medzoo.data.errors import CheckpointError
from medzoo.models.build import head_of
from medzoo.models.heads.bottleneck import FROZEN
from medzoo.store.spec import ModelSpec
from medzoo.tasks.task import Task

ENTRY_POINTS = "medzoo.tasks"
_OWN = {
    "classify": "medzoo.tasks.classify:Classify",
    "neighbours": "medzoo.tasks.neighbours:Neighbours",
    "contrast": "medzoo.tasks.contrast:Contrast",
    "fusion": "medzoo.tasks.fusion:Fusion",
    "targets": "medzoo.tasks.targets:Targets",
    "fusion targets": "medzoo.tasks.targets:FusionTargets",
    "bottleneck": "medzoo.tasks.bottleneck:Bottleneck",
    "embedding bottleneck": "medzoo.tasks.concept_embeddings:EmbeddingBottleneck",
    "prototype bottleneck": "medzoo.tasks.prototypes:PrototypeBottleneck",
    "bags": "medzoo.tasks.bags:Bags",
    "frozen bottleneck": "medzoo.tasks.frozen:FrozenBottleneck",
    "ensemble": "medzoo.tasks.ensemble:Ensemble",
    "simclr": "medzoo.tasks.pretraining:SimClr",
    "dino": "medzoo.tasks.pretraining:Dino",
    "mae": "medzoo.tasks.pretraining:Mae",
    "spark": "medzoo.tasks.pretraining:Spark",
}
UNLABELLED = ("contrast", "simclr", "dino", "mae", "spark")
"""Tasks whose specs have no labels."""


def task_class(spec: ModelSpec) -> type[Task]:
    """Return the class of a spec's task; CheckpointError if this medzoo has none such, or the spec lacks the labels it needs."""
    others = third_party_tasks()
    if spec.task in others:
        found: type[Task] = others[spec.task].load()
        return found
    if spec.task not in _OWN or (spec.task not in UNLABELLED and spec.labels is None and not spec.targets):
        raise CheckpointError(f"this medzoo has no task {spec.task!r}; update it, or install the package that brings it")
    kind = spec.task
    if head_of(spec) == "neighbours":
        kind = "neighbours"
    elif head_of(spec) == "bag":
        kind = "bags"
    elif head_of(spec) == "bottleneck" and spec.objective["regime"] in FROZEN:
        kind = "frozen bottleneck"
    elif head_of(spec) == "bottleneck" and spec.objective["kind"] == "embedding":
        kind = "embedding bottleneck"
    elif head_of(spec) == "bottleneck" and spec.objective["kind"] == "prototype":
        kind = "prototype bottleneck"
    own: type[Task] = metadata.EntryPoint(kind, _OWN[kind], ENTRY_POINTS).load()
    return own


def third_party_tasks() -> dict[str, metadata.EntryPoint]:
    """Return the tasks that other packages bring, by name; none is loaded."""
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
