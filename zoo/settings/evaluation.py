"""How results are computed, as it is asked for (`evaluation` in conf/), and what of it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medzoo.data.dataset import SPLITS
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.settings.decision_rules import curve_thresholds, operating_rules, prevalences
from medzoo.settings.intersections import read_intersections
from medzoo.settings.metric_names import metric_texts
from medzoo.settings.robustness import robustness_columns


@dataclass
class ConformalConfig:
    """Prediction sets that hold the truth of a stated share of patients; see docs/evaluation.md.

    Attributes:
        coverage: That share; of findings 1 less the share of a patient's findings that may be missed.
        by: split (over all patients) or class (of each true class; classes that exclude each other alone).
    """

    coverage: float = 0.9
    by: str = "split"


@dataclass
class EvaluationConfig:
    """How results are computed.

    Attributes:
        splits: Splits to predict and report.
        batch_size: Samples a forward pass; None: 64.
        replicates: Bootstrap replicates over groups.
        level: Coverage of the intervals.
        interval: percentile; or expanded, wider by what few patients make those too short.
        seed: Seed of the bootstrap.
        bins: Bins of the calibration error.
        tta: Augmented copies of each image whose probabilities are averaged with its own; 0: none.
        extra: Further metrics, any classification or regression metric of torchmetrics by its name; with arguments
            {name: {argument: value}}.
        operating_points: Thresholds to choose on the val split, by rule: youden, {sensitivity: 0.9}, {specificity: 0.95},
            {cost: {false_negative: 10, false_positive: 1}}; every split is reported at them.
        prevalence: Share of patients with a class where the model shall be used, that predictive values and net benefit are
            stated at; a number for every finding, or {class: number}; None: as in the data.
        decision_curve: Net benefit over threshold probabilities: true (0.01 to 0.99), or a list of them.
        intersections: Subgroup columns that results are broken down by together, [[sex, age]]; auto: every pair with at most 64
            levels.
        audit: Decode the images of all splits and compare them: those that stand, identical, in several splits make results
            optimistic, and the report begins with them. Of a test on other data (on=...) with the images that the run has learnt
            from, also by what they look like.
        calibration: What is fitted on the val split and put between logits and everything that is scored: none, temperature,
            platt or isotonic.
        conformal: Prediction sets fitted on the val split, {coverage: 0.9, by: split}; None: none.
        embeddings: Write each image's features before the head, those of train too, to embeddings.parquet, and score what is near
            what: label retrieval, class prototypes.
        robustness_index: Of those, whether neighbours share the class or a subgroup column, such as site; a name, or a list.
        by: Column of the predictions file whose rows answer together (group, video, eye), or a list of columns; scored beside the
            run's own results, in by/ of the run.
        vote: How they answer: mean (probability), majority (of rows; ties by mean probability) or any (positive row).
    """

    splits: list[str] = field(default_factory=lambda: ["val", "test"])
    batch_size: int | None = None
    replicates: int = 1000
    level: float = 0.95
    interval: str = "percentile"
    seed: int = 0
    bins: int = 15
    tta: int = 0
    extra: list[Any] = field(default_factory=list)
    operating_points: list[Any] = field(default_factory=list)
    prevalence: Any = None
    decision_curve: Any = False
    intersections: Any = field(default_factory=list)
    audit: bool = False
    calibration: str = "none"
    conformal: ConformalConfig | None = None
    embeddings: bool = False
    robustness_index: Any = None
    by: Any = None
    vote: str = "mean"


CALIBRATIONS = ("none", "temperature", "platt", "isotonic")
"""What `evaluation.calibration` may be."""
INTERVALS = ("percentile", "expanded")
"""What `evaluation.interval` may be."""
VOTES = ("mean", "majority", "any")
"""What `evaluation.vote` may be."""


def by_columns(asked: Any) -> list[str]:
    """Return the columns of `evaluation.by`, which is null, a name or a list of names; ConfigError of anything else."""
    names = [] if asked is None else [asked] if isinstance(asked, str) else asked
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"evaluation.by is a column of the predictions, such as group, or a list of them, not {asked}")
    if len(set(names)) < len(names) or (asked is not None and not names):
        raise ConfigError(f"evaluation.by={list(names)} must name at least one column, and each once")
    return list(names)


def check_evaluation(config: EvaluationConfig) -> None:
    """Refuse settings of an evaluation that mean nothing, before anything is trained or predicted.

    Raises:
        UnknownNameError: If there is no such split.
        ConfigError: If a number is out of range, or no split or one split twice is named.
    """
    for split in config.splits:
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS, where=" in evaluation.splits")
    if not config.splits or len(set(config.splits)) < len(config.splits):
        raise ConfigError(f"evaluation.splits={list(config.splits)} must name at least one split, and each once")
    for name, least in (("replicates", 0), ("bins", 1), ("tta", 0)):
        if getattr(config, name) < least:
            raise ConfigError(f"evaluation.{name}={getattr(config, name)} must be at least {least}")
    if config.batch_size is not None and config.batch_size < 1:
        raise ConfigError(f"evaluation.batch_size={config.batch_size} must be at least 1")
    metric_texts(config.extra, "evaluation.extra")
    prevalences(config.prevalence)
    curve_thresholds(config.decision_curve)
    if operating_rules(config.operating_points) and "val" not in config.splits:
        raise ConfigError("evaluation.operating_points are chosen on the val split; add val to evaluation.splits")
    read_intersections(config.intersections)
    if config.calibration not in CALIBRATIONS:
        raise UnknownNameError("calibration", config.calibration, CALIBRATIONS, where=" in evaluation.calibration")
    if config.conformal is not None:
        if config.conformal.by not in ("split", "class"):
            raise UnknownNameError("kind", config.conformal.by, ("split", "class"), where=" in evaluation.conformal.by")
        if not 0 < config.conformal.coverage < 1:
            raise ConfigError(f"evaluation.conformal.coverage={config.conformal.coverage:g} is not between 0 and 1")
    if robustness_columns(config.robustness_index) and not config.embeddings:
        raise ConfigError("evaluation.robustness_index is made of embeddings: add evaluation.embeddings=true")
    if config.interval not in INTERVALS:
        raise UnknownNameError("interval", config.interval, INTERVALS, where=" in evaluation.interval")
    if config.vote not in VOTES:
        raise UnknownNameError("vote", config.vote, VOTES, where=" in evaluation.vote")
    if not by_columns(config.by) and config.vote != EvaluationConfig().vote:
        raise ConfigError(f"evaluation.vote={config.vote} is of groups of rows: name their column, evaluation.by=<column>")
    if not 0 < config.level < 1:
        raise ConfigError(f"evaluation.level={config.level:g} is not between 0 and 1, both left out; 0.95 is usual")
