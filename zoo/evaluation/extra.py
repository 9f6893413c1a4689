"""Any classification or regression metric of torchmetrics by its name, asked for by `evaluation.extra` and `trainer.monitor`.

torchmetrics gets what it cannot see by itself: labels that are missing left out per class, float64 probabilities that no second
sigmoid is put on, ranks of log-odds where order alone counts (saturated probabilities tie), and one class at a time where its own
mean would count an absent class as 0. It takes seconds to import, so functions import it, and only when a metric is asked for.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from medzoo.data.errors import ConfigError, MissingDependencyError, UnknownNameError
from medzoo.data.labels import LabelKind, LabelSpace
from medzoo.settings.metric_names import metric_texts, read_metric

Form = Literal["together", "each", "pooled", "whole"]
ORDER = frozenset(
    {
        "auroc", "average_precision", "eer", "logauc", "sensitivity_at_specificity", "specificity_at_sensitivity",
        "precision_at_fixed_recall", "recall_at_fixed_precision", "ranking_average_precision", "ranking_loss", "coverage_error",
    }
)  # fmt: skip
"""Metrics that need an order alone: they are given ranks, unless `thresholds` ask for probabilities."""
NEEDS: Mapping[str, str] = {
    **dict.fromkeys(("precision", "recall", "f1_score", "fbeta_score", "jaccard_index"), "+"),
    **dict.fromkeys(("specificity", "negative_predictive_value"), "-"),
    **dict.fromkeys(("accuracy", "hamming_distance", "calibration_error", "hinge_loss", "exact_match", "coverage_error"), ""),
}
"""What a class must have for a metric to mean something: positives (+), negatives (-); both where a name is not here."""
NEED_SPREAD = frozenset(
    {
        "concordance_corrcoef", "explained_variance", "kendall_rank_corrcoef", "pearson_corrcoef", "r2_score",
        "relative_squared_error", "spearman_corrcoef",
    }
)  # fmt: skip
"""Metrics of quantities that mean nothing where all targets are equal."""
CORRELATIONS = frozenset({"kendall_rank_corrcoef", "pearson_corrcoef", "spearman_corrcoef"})
"""Those that mean nothing where all predictions are equal either."""
WITH_UNIT = frozenset(
    {
        "log_cosh_error", "mean_absolute_error", "mean_squared_error", "mean_squared_log_error", "minkowski_distance",
        "tweedie_deviance_score",
    }
)  # fmt: skip
"""Metrics of quantities that are in a unit: those of different units have no mean."""
LOWER_IS_BETTER = frozenset({"eer", "hinge_loss", "ranking_loss", "tweedie_deviance_score"})
"""And all whose names end in `_error` or `_distance`."""
NO_NUMBER = frozenset(
    {
        "confusion_matrix", "fairness", "groups_stat_rates", "precision_recall_curve", "roc", "stat_scores",
        "continuous_ranked_probability_score", "cosine_similarity", "jensen_shannon_divergence", "kl_divergence",
    }
)  # fmt: skip
"""Curves, tables, what needs a group beside each sample, and what compares vectors or distributions instead of values."""
OURS = frozenset(
    {
        "alternative", "groups", "ignore_index", "keep_sequence_dim", "multidim_average", "multioutput", "num_classes",
        "num_groups", "num_labels", "num_outputs", "preds", "t_test", "target", "targets", "validate_args",
    }
)  # fmt: skip
"""Arguments that follow from the labels."""
REFUSALS = (ValueError, TypeError, RuntimeError, IndexError, ArithmeticError)
"""What torchmetrics raises on arguments or samples it cannot take."""
PREFIXES: Mapping[LabelKind, tuple[str, ...]] = {
    "multiclass": ("multiclass_", "binary_"), "ordinal": ("multiclass_", "binary_"), "multilabel": ("binary_", "multilabel_"),
    "regression": ("",),
}  # fmt: skip


@dataclass(frozen=True)
class Extra:
    """One metric of torchmetrics, with its arguments, for labels of one kind.

    Attributes:
        text: How settings and reports name it; see `medzoo.settings.metric_names.metric_text`.
        name: torchmetrics' name, without its prefix.
        arguments: Of the function, those that follow from the labels included.
        function: What is called.
        form: `together`: all exclusive classes in one call, a value each; `each`: a call a class, finding or quantity;
            `pooled`: all findings in one call, missing entries masked; `whole`: one value, of samples that are wholly labelled.
    """

    text: str
    name: str
    arguments: Mapping[str, Any]
    function: Callable[..., Any]
    form: Form

    @property
    def per_class(self) -> bool:
        """Whether there is a value for each class."""
        return self.form in ("together", "each")

    @property
    def ranked(self) -> bool:
        """Whether order alone counts."""
        binned = self.arguments.get("thresholds") is not None
        return not binned and (self.name in ORDER or "top_k" in self.arguments)

    @property
    def needs(self) -> str:
        """What a class must have, as in `NEEDS`; an accuracy of one class among exclusive ones is its recall."""
        if self.form == "together" and self.name in ("accuracy", "hamming_distance"):
            return "+"
        return NEEDS.get(self.name, "+-")


def find_extra(text: str, labels: LabelSpace) -> Extra:
    """Find a metric of torchmetrics for a label space, and try it on a few made-up samples.

    Args:
        text: Its name, or name and arguments.
        labels: What it shall be computed of.

    Raises:
        UnknownNameError: If torchmetrics has none of that name for this kind of labels, or the metric no such argument.
        ConfigError: If an argument is missing, follows from the labels, or has no sensible value.
        MissingDependencyError: If torchmetrics is not installed.
    """
    name, given = read_metric(text)
    functions = _functions(labels.kind)
    if name not in {known for known, _ in functions}:
        raise _unknown(name, labels.kind)
    if given.get("average") in ("macro", "none", None):  # the mean over classes is taken here, of those that are defined
        given = {key: value for key, value in given.items() if key != "average"}
    if taken := sorted(OURS & set(given)):
        raise ConfigError(f"{text}: {taken[0]} follows from the labels; leave it out")
    order = _order(name, labels.kind, "average" in given)
    candidates = [functions[name, prefix] for prefix in order if (name, prefix) in functions]
    if not candidates:
        raise ConfigError(f"{text}: {name} has no average={given['average']} for {labels.kind} labels; leave average out")
    fitting = [one for one in candidates if set(given) <= _own_arguments(one)]
    if not fitting:
        known = set().union(*map(_own_arguments, candidates))
        raise UnknownNameError("argument", next(key for key in given if key not in known), known, where=f" of {name}")
    function = fitting[0]
    required = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    lacking = [key for key in required if key not in OURS and key not in given]
    if lacking:
        raise ConfigError(f"{text}: {name} needs {', '.join(lacking)}; write {{{name}: {{{lacking[0]}: ...}}}}")
    extra = _formed(text, name, given, function, labels)
    _try(extra, labels)
    return extra


def check_extras(asked: Sequence[Any], labels: LabelSpace | None) -> None:
    """Check the metrics of `evaluation.extra` before anything is trained or predicted.

    Raises:
        ConfigError: If one is not known, its arguments are not what they must be, or there are no labels to compute it of.
    """
    texts = metric_texts(asked, "evaluation.extra")
    if texts and labels is None:
        raise ConfigError(f"evaluation.extra={texts} needs labels, and there are none; leave it out")
    for text in texts:
        assert labels is not None
        find_extra(text, labels)


def extra_names(kind: LabelKind) -> set[str]:
    """Return the names of torchmetrics' metrics that are one number, for a kind of labels."""
    return {name for name, _ in _functions(kind)}


def extra_higher_is_better(text: str) -> bool:
    """Whether a larger value is better: torchmetrics leaves it open for half of its own."""
    name = read_metric(text)[0]
    return name not in LOWER_IS_BETTER and not name.endswith(("_error", "_distance"))


def _functions(kind: LabelKind) -> dict[tuple[str, str], Callable[..., Any]]:
    """Return (name, prefix) → function."""
    try:
        from torchmetrics.functional import classification, regression
    except ImportError as error:
        raise MissingDependencyError("metrics by name need torchmetrics: pip install 'medzoo[train]'") from error
    module = regression if kind == "regression" else classification
    found: dict[tuple[str, str], Callable[..., Any]] = {}
    for prefix in PREFIXES[kind]:
        for full in module.__all__:
            name = full.removeprefix(prefix)
            if full.startswith(prefix) and name not in NO_NUMBER:
                found[name, prefix] = getattr(module, full)
    return found


def _unknown(name: str, kind: LabelKind) -> ConfigError:
    if name in NO_NUMBER:
        return ConfigError(f"{name} is a curve or a table, or compares vectors or groups: metrics here are one number a class")
    others = [other for other in PREFIXES if other != kind and name in extra_names(other)]
    if others:
        return ConfigError(f"{name} of torchmetrics is for {' and '.join(others)} labels, and these are {kind}")
    return UnknownNameError("metric", name, extra_names(kind), where=f" of torchmetrics for {kind} labels")


def _order(name: str, kind: LabelKind, averaged: bool) -> tuple[str, ...]:
    """Return the prefixes to look under, best first: where order counts one class at a time, whose own warning is then heard."""
    if averaged and kind == "multilabel":
        return ("multilabel_",)
    return PREFIXES[kind][::-1] if name in ORDER and kind in ("multiclass", "ordinal") and not averaged else PREFIXES[kind]


def _own_arguments(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - OURS


def _formed(text: str, name: str, given: Mapping[str, Any], function: Callable[..., Any], labels: LabelSpace) -> Extra:
    known, arguments = set(inspect.signature(function).parameters), dict(given)
    for width in ("num_classes", "num_labels"):
        if width in known:
            arguments[width] = labels.width
    form: Form = "each"
    if "num_classes" in known:
        form = "together" if "average" in known and "average" not in given else "whole"
        if form == "together":
            arguments["average"] = None
    elif "num_labels" in known:
        form = "pooled" if "average" in given else "whole"
        if form == "pooled":
            arguments["ignore_index"] = -1
    return Extra(text, name, arguments, function, form)


def _try(extra: Extra, labels: LabelSpace) -> None:
    """Call a metric on a few samples of every class: ConfigError if its arguments have no sensible values."""
    width = labels.width
    truth = torch.eye(width, dtype=torch.float64).repeat(6, 1)
    wrong = truth.roll(1, dims=0)
    share = torch.linspace(0.1, 0.9, len(truth), dtype=torch.float64)[:, None]
    probabilities = (1 - share) * truth + share * wrong if width > 1 else share
    columns: tuple[Tensor, Tensor] = (probabilities, truth.long())
    if extra.form in ("whole", "together") and labels.exclusive:
        columns = (probabilities, columns[1].argmax(dim=1))
    elif extra.form == "each":
        columns = (probabilities[:, 0].contiguous(), (wrong if width == 1 else truth)[:, 0].long())
    if labels.kind == "regression":
        values = torch.linspace(1, 2, 5, dtype=torch.float64)
        columns = (values**2, values)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samples that nobody has
            found = extra.function(*columns, **extra.arguments)
    except IndexError:  # none of its own refusals: it follows from the samples, and is told when the true ones are measured
        return
    except REFUSALS as error:
        raise ConfigError(f"{extra.text}: torchmetrics refuses these arguments ({error})") from error
    found = found[0] if isinstance(found, tuple) else found
    if not isinstance(found, Tensor) or found.numel() != (width if extra.form == "together" else 1):
        raise ConfigError(f"{extra.text}: torchmetrics gives no single number with these arguments; leave them out")
