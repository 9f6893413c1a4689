"""The model card of a run, in the format of the Hugging Face hub: metadata that its pages read, and a text for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medzoo.data.errors import CheckpointError
from medzoo.data.extras import needed_for
from medzoo.hub.claims import TO_BE_WRITTEN, Claim, Facts, claims, shown
from medzoo.hub.licences import Licence, chain
from medzoo.store.checkpoint import SPEC
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec

HUB_LICENCES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "openrail", "unlicense", "other",
)  # fmt: skip
"""Identifiers of the hub (its documentation, "Licenses") that a run's licence may be; another is `other` with its name."""
WARNING = "Not a medical device. It has not been shown to be safe or useful for any patient."


def read_facts(run: RunDirectory, spec: ModelSpec | None = None) -> Facts:
    """Return what a run says of itself; CheckpointError if its metrics are damaged.

    Args:
        run: Its directory.
        spec: Of the checkpoint that is described; None: the run's.
    """
    report: dict[str, Any] = {}
    if run.metrics.is_file():
        try:
            report = json.loads(run.metrics.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{run.metrics} is damaged ({error}); medzoo evaluate run={run.path} writes it again"
            ) from error
    return Facts(run, spec or ModelSpec.read(run.path / SPEC), report, run.settings())


def model_card(facts: Facts, licence: str | None = None, *, plain: Sequence[str] = ()) -> str:
    """Return the card: YAML metadata and Markdown.

    Args:
        facts: Of a run.
        licence: Under which the model is shared; None: it is left to be said.
        plain: Other libraries that load the bundle by themselves, such as `timm`.
    """
    links = chain(facts.spec, facts.settings)
    lines = [
        f"# {facts.spec.architecture} on {facts.spec.data.get('title', 'unknown data')}", "", f"> **{WARNING}**", "",
        *_what(facts), *_use(facts, plain), *_results(facts), *_licences(links, licence), *_checklist(claims(facts)),
    ]  # fmt: skip
    return f"---\n{_metadata(facts, licence, plain)}\n---\n\n" + "\n".join(lines) + "\n"


def _metadata(facts: Facts, licence: str | None, plain: Sequence[str]) -> str:
    with needed_for("model cards"):
        from huggingface_hub import EvalResult, ModelCardData
    spec, known = facts.spec, (licence or "other").lower()
    results = [
        EvalResult(
            task_type=_task(facts), dataset_type=str(spec.data.get("name")), dataset_name=str(spec.data.get("title")),
            dataset_split=split, metric_type=name, metric_name=name, metric_value=float(metric["value"]),
        )
        for split, part in (facts.report.get("splits") or {}).items()
        for name, metric in part["metrics"].items()
        if metric.get("value") is not None
    ]  # fmt: skip
    named: dict[str, Any] = (
        {"license": known} if known in HUB_LICENCES else {"license": "other", "license_name": known.replace(" ", "-")}
    )
    if named["license"] == "other" and "license_name" not in named:
        named["license_name"] = "see-the-licences-below"
    if results:
        named |= {"model_name": spec.architecture, "eval_results": results}
    modality = str(spec.data.get("modality", ""))
    tags = ["medical-imaging", "medzoo", *plain, *([modality] if modality else [])]
    pipeline = None if _task(facts) == "other" else _task(facts)
    data = ModelCardData(**named, library_name="medzoo", pipeline_tag=pipeline, tags=tags)
    text: str = data.to_yaml()
    return text


def _task(facts: Facts) -> str:
    if facts.spec.targets:
        return "image-classification"
    if facts.spec.labels is None:
        return "zero-shot-image-classification"
    return "image-classification" if facts.spec.labels.kind != "regression" else "other"


def _what(facts: Facts) -> list[str]:
    spec = facts.spec
    asked = "images and texts" if spec.labels is None else f"{spec.labels.kind}: {', '.join(spec.labels.names)}"
    asked = "; ".join(f"{name}, {own.kind}: {', '.join(own.names)}" for name, own in spec.targets.items()) or asked
    concepts = [f"- Concepts: {', '.join(spec.concepts.names)}"] if spec.concepts is not None else []
    return [
        "## What it is", "", f"- Architecture: `{spec.architecture}`, family `{spec.family}`", f"- Answers: {asked}", *concepts,
        f"- Spec: `{spec.hash}`", "", f"Intended use, users, and uses out of scope: {TO_BE_WRITTEN}.", "",
    ]  # fmt: skip


def _use(facts: Facts, plain: Sequence[str]) -> list[str]:
    lines = [
        "## How to use it",
        "",
        "```python",
        "import medzoo",
        'model = medzoo.load("hf-hub:owner/name")  # or "local-dir:folder"',
    ]
    lines += ['print(model.predict(["image.png"]))', "```", ""]
    if plain:
        lines += [f"{' and '.join(plain)} load this folder without medzoo; images must then be normalised as they say.", ""]
    return lines


def _results(facts: Facts) -> list[str]:
    if several := facts.report.get("targets"):
        found = [(f"## Results: {name}", _results(replace(facts, report=own))) for name, own in several.items()]
        return [line for title, lines in found for line in (title, *lines[1:])]
    splits = facts.report.get("splits") or {}
    if not splits:
        return ["## Results", "", f"The run was not evaluated on labels: {TO_BE_WRITTEN}.", ""]
    names = list(dict.fromkeys(name for part in splits.values() for name in part["metrics"]))
    lines = [
        "## Results",
        "",
        f"With {facts.report['interval']['level']:.0%} intervals ({facts.report['interval']['method']}).",
        "",
    ]
    lines += [f"| | {' | '.join(splits)} |", f"|---|{'---|' * len(splits)}"]
    for name in names:
        metrics = [part["metrics"].get(name) or {} for part in splits.values()]
        cells = [shown(metric) if metric.get("value") is not None else "undefined" for metric in metrics]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    looked = [f"- {entry['says']}" for entry in facts.report.get("attention") or ()]
    notes = [f"- {note}" for note in facts.report.get("notes") or ()]
    if looked or notes:
        lines += ["", "To be read first:", "", *dict.fromkeys([*looked, *notes])]
    return [*lines, ""]


def _licences(links: Sequence[Licence], licence: str | None) -> list[str]:
    lines = [
        "## Licences of what it comes from",
        "",
        f"Shared under: {licence or TO_BE_WRITTEN}.",
        "",
        "| of | licence |",
        "|---|---|",
    ]
    return [*lines, *(f"| {link.of} | {link.licence} |" for link in links), ""]


def _checklist(items: Sequence[Claim]) -> list[str]:
    lines = ["## MI-CLAIM and MI-CLAIM-GEN", "", "| item | asked | answer of the run |", "|---|---|---|"]
    lines += [f"| {claim.number} | {claim.item} | {_cell(claim.answer or f'**{TO_BE_WRITTEN}**')} |" for claim in items]
    open_items = [f"- {claim.number}: {claim.item}" for claim in items if claim.answer is None]
    return [*lines, "", "To be written by whoever shares this model; the run cannot know it:", "", *open_items, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def card_summary(items: Sequence[Claim]) -> Mapping[str, int]:
    """Return how many items a run has answered and how many are to be written."""
    answered = sum(claim.answer is not None for claim in items)
    return {"answered": answered, "to be written": len(items) - answered}
