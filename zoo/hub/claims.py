"""The reporting checklists MI-CLAIM and MI-CLAIM-GEN: what a run can answer from its files, and what is to be written.

MI-CLAIM's items (Norgeot et al. 2020, doi:10.1038/s41591-020-1041-y) are named by part and place, in short words of our own. Of
MI-CLAIM-GEN (Miao et al. 2024, arXiv:2403.02558), whose table is longer, the areas that it adds or changes are named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medzoo.evaluation.attention import OPTIMISTIC
from medzoo.store.directory import EXTERNAL, RunDirectory
from medzoo.store.spec import ModelSpec

TO_BE_WRITTEN = "to be written"


@dataclass(frozen=True)
class Facts:
    """What a run says of itself.

    Attributes:
        run: Its directory.
        spec: Of its model.
        report: The content of metrics.json; empty if it was not evaluated.
        settings: Its configuration.
    """

    run: RunDirectory
    spec: ModelSpec
    report: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def tested(self) -> str | None:
        """The split that is reported: test, where it was evaluated."""
        splits = self.report.get("splits") or {}
        return "test" if "test" in splits else next(iter(splits), None)


@dataclass(frozen=True)
class Claim:
    """One item of a checklist.

    Attributes:
        number: Of the item.
        item: What is asked for, in short.
        answer: What the run says; None: it cannot know.
    """

    number: str
    item: str
    answer: str | None


def claims(facts: Facts) -> list[Claim]:
    """Return every item, answered from the run's files or not at all."""
    return [Claim(number, item, answer(facts) if answer else None) for number, item, answer in _ITEMS]


def _cohorts(facts: Facts) -> str | None:
    card, parts = facts.spec.data, facts.report.get("splits") or {}
    if not card.get("samples"):
        return None
    unit = card.get("split_unit", "group")
    said = [
        f"{split}: {n} samples" + (f" of {parts[split]['groups']} {unit}s" if split in parts else "")
        for split, n in card["samples"].items()
    ]
    columns = card.get("subgroups") or []
    return "; ".join(said) + (f". Known of each: {', '.join(columns)}; results by level are in metrics.json" if columns else "")


def _origin(facts: Facts) -> str | None:
    card = facts.spec.data
    said = [str(card[key]) for key in ("title", "citation", "homepage") if card.get(key)]
    return f"{'. '.join(text.rstrip('.') for text in said)}. Licence: {card.get('licence', 'not stated')}" if said else None


def _transformed(facts: Facts) -> str:
    made, trainer = facts.spec.preprocess, facts.settings.get("trainer") or {}
    size, channels = "×".join(map(str, made.size)), f"{made.channels} channel{'s' * (made.channels > 1)}"
    return (
        f"{made.mode} to {size} pixels ({made.interpolation}), {channels}, values of 0..1 minus {list(made.mean)} by "
        f"{list(made.std)}; augmentation in training: {trainer.get('augment', 'none')}"
    )


def _independence(facts: Facts) -> str | None:
    if facts.tested is None:
        return None
    unit = facts.spec.data.get("split_unit", "group")
    optimistic = [note for note in facts.report.get("notes") or () if OPTIMISTIC in note]
    if optimistic:
        return f"NOT given: {'; '.join(optimistic)}"
    if unit in ("image", "file"):
        return f"no patient is known in these data: splits keep each {unit} in one of them, which proves nothing of patients"
    return (
        f"no {unit} is in two splits; a {unit} that the network, or a run it started from, has learnt from is refused for testing"
    )


def _selection(facts: Facts) -> str:
    spec, details = facts.spec, facts.report.get("details") or {}
    chosen = f", chosen by {details['chosen_by']}" if details.get("chosen_by") else ""
    start = f", started from {spec.initial_weights.get('name', spec.initial_weights.get('file'))}" if spec.initial_weights else ""
    which = f"the {details.get('checkpoint', 'best')} checkpoint{chosen}"
    return f"{spec.architecture} ({spec.family}){start}; {which}; all settings in config.yaml"


def _input(facts: Facts) -> str:
    kind = "volumes" if facts.spec.preprocess.is_volume else "images"
    return f"{kind} ({facts.spec.data.get('modality', 'unknown')}), {facts.spec.preprocess.dtype}"


def leading(part: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return the first metric of a split's report that has a value, and its name."""
    return next(((name, metric) for name, metric in part["metrics"].items() if metric.get("value") is not None), None)


def shown(metric: Mapping[str, Any]) -> str:
    """Return a value with its interval."""
    interval = f" [{metric['low']:.3f}, {metric['high']:.3f}]" if metric.get("low") is not None else ""
    return f"{metric['value']:.3f}{interval}"


def _primary(facts: Facts) -> str | None:
    split = facts.tested
    found = leading(facts.report["splits"][split]) if split else None
    if found is None:
        return None
    return f"{found[0]} on {split}: {shown(found[1])} ({facts.report['interval']['method']}); why this metric: {TO_BE_WRITTEN}"


def _utility(facts: Facts) -> str | None:
    path = facts.run.operating_points
    if not path.is_file():
        return None
    rules = json.loads(path.read_text(encoding="utf-8")).get("points") or []
    return (
        f"{len(rules)} operating points chosen on val (operating_points.json); what they are worth to patients: {TO_BE_WRITTEN}"
    )


def _file(*names: str) -> Callable[[Facts], str | None]:
    def told(facts: Facts) -> str | None:
        there = [name for name in names if (facts.run.path / name).exists()]
        return f"{' and '.join(there)} of the run" if there else None

    return told


def _shift(facts: Facts) -> str | None:
    folder = facts.run.path / EXTERNAL
    found = sorted(path.parent.name for path in folder.glob("*/metrics.json"))
    return f"tested on other data: {', '.join(found)} (external/)" if found else None


def _reproduced(facts: Facts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.spec.versions.items())
    shared = f"weights, spec.json and config.yaml (seed {facts.settings.get('seed')}) are in the bundle"
    return f"{shared}; trained with {versions}. Tier: {TO_BE_WRITTEN}"


def _before(facts: Facts) -> str:
    names = sorted({str(card["name"]) for card in facts.spec.data.get("learnt_from") or ()})
    weights = facts.spec.initial_weights
    published = (facts.settings.get("model") or {}).get("pretrained")
    if not names and weights is None:
        return f"started from the published weights of its name ({published})" if published else "random weights: nothing"
    start = f"started from {weights.get('name', weights.get('file'))}; " if weights else ""
    return f"{start}learnt before from {', '.join(names) if names else 'data that nobody names'}"


def _wording(facts: Facts) -> str | None:
    wording = (facts.report.get("details") or {}).get("zero-shot")
    return f"prompts {wording['name']} {wording['version']}, every text in metrics.json" if wording else None


_ITEMS: list[tuple[str, str, Callable[[Facts], str | None] | None]] = [
    ("1.1", "clinical problem in which the model is used", None),
    ("1.2", "research question", None),
    ("1.3", "characteristics of the cohorts (training and test)", _cohorts),
    ("1.4", "cohorts stand for the real clinical setting", None),
    ("1.5", "state-of-the-art solution used as a baseline", None),
    ("2.1", "origin of the data and original format", _origin),
    ("2.2", "transformations before the model", _transformed),
    ("2.3", "independence of training and test sets", _independence),
    ("2.4", "models evaluated, and how the best was selected", _selection),
    ("2.5", "type of the input data", _input),
    ("3.1", "primary metric of performance, and why", _primary),
    ("3.2", "primary metric of clinical utility, and why", _utility),
    ("3.3", "comparison with the baseline, with its significance (medzoo compare --paired)", None),
    ("4.1", "examination technique 1", _file("localisation.json", "deletion.json", "explanations")),
    ("4.2", "examination technique 2", _file("robustness.json", "interventions.json")),
    ("4.3", "relevance of what the examination found", None),
    ("4.4", "feasibility and significance of explaining single cases", None),
    ("4.5", "reliability and robustness as the data shift", _shift),
    ("5", "reproducibility: what is shared, by tier", _reproduced),
    ("GEN training", "what the network has learnt from before", _before),
    ("GEN evaluation", "wording of what the model is asked", _wording),
    ("GEN cohorts", "how the cohort was selected, so that it can be selected again", None),
    ("GEN interpretability", "what explanations are good for here", None),
    ("GEN ethics", "alignment with ethical standards, consent, governance", None),
    ("GEN deployment", "risks where it is used, and who watches over it", None),
]
"""Number, item in short, and what answers it from a run's files."""
