"""What a reader of a report should look at first, each with its place in `metrics.json`.

The order: what makes every number optimistic (`leak`); what may (`near copy`); levels of subgroup columns that are served worse
than the others, by a band that excludes 0 (`worse subgroup`: by the least that they are worse, largest first; then those of
intersections); unequal error rates (`unequal odds`, alike); classes that cannot be measured (`empty class`); splits and levels of
too few groups (`few groups`). Within a kind the test split goes before val. Nothing here decides anything; it is an order of
reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.fairness.blocks import worse_if_lower
from medzoo.evaluation.fairness.disparity import headline
from medzoo.evaluation.fairness.levels import AND

FEW = 30
"""Groups of a split below which its intervals are wide whatever the model (as of a mean: the usual rule of thumb)."""
KINDS = ("leak", "near copy", "worse subgroup", "unequal odds", "empty class", "few groups")
COPIES = KINDS[:2]
"""Those that are said before any figure, wherever there are figures."""
OPTIMISTIC = "results are optimistic"
"""Words by which notes of `medzoo.data.splits.learnt_from` tell that something learnt from is tested on."""


def attention(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what to look at first, in that order.

    Args:
        report: The content of `metrics.json`.

    Returns:
        Entries of `kind`, `says` (one sentence) and `at` (a JSON pointer, RFC 6901, to what it is about); of numbers also
        `value`, `low` and `high`.
    """
    labels = LabelSpace.from_dict(report["labels"])
    found = [*_leaks(report)]
    for split, part in report["splits"].items():
        found += [*_worse(split, part, labels), *_unequal(split, part), *_empty(split, part), *_few(split, part, report)]
    last = list(report["splits"])[::-1]  # val is looked at in training already

    def order(entry: dict[str, Any]) -> tuple[int, int, bool, float]:
        split = entry["at"].split("/")[2] if entry["at"].startswith("/splits/") else last[0]
        return KINDS.index(entry["kind"]), last.index(split), entry.pop("both"), -entry.pop("size")

    return [entry for _, _, entry in sorted((order(entry), place, entry) for place, entry in enumerate(found))]


def pointer(*parts: object) -> str:
    """Return a JSON pointer of keys and indices (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def attention_lines(entries: list[dict[str, Any]], most: int = 5) -> list[str]:
    """Return the first entries as lines for a terminal."""
    lines = [f"look first: {entry['says']}" for entry in entries[:most]]
    return lines + ([f"and {len(entries) - most} more in metrics.json, attention"] if len(entries) > most else [])


def _entry(kind: str, says: str, at: str, size: float, *, both: bool = False, **numbers: Any) -> dict[str, Any]:
    return {"kind": kind, "says": says, "at": at, **numbers, "size": size, "both": both}


def _leaks(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    leakage = report.get("details", {}).get("leakage") or {}
    if leakage.get("identical"):
        one = leakage["identical_listed"][0]
        such = f"{' and '.join(one['sample_ids'][:2])} in {' and '.join(one['splits'])}"
        says = f"{leakage['identical']} images stand, identical, in several splits (such as {such}): {OPTIMISTIC}"
        yield _entry("leak", says, pointer("details", "leakage", "identical_listed"), leakage["identical"] + 1e6)
    yield from _copies(report.get("details", {}).get("learnt_images") or {})
    for place, note in enumerate(report["notes"]):
        if OPTIMISTIC in note:
            yield _entry("leak", note, pointer("notes", place), -place)


def _copies(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield images of a test on other data that the network has learnt from; see `medzoo.data.audit.between`."""
    for kind, of, says in (
        ("leak", "identical", f"the same, to the pixel, as images the network has learnt from (such as {{}}): {OPTIMISTIC}"),
        ("near copy", "near", "nearly the same as images the network has learnt from (such as {}): copies, or alike?"),
    ):
        if found.get(of):
            one = found[f"{of}_listed"][0]
            such = f"{one['sample_id']}, {one['learnt_from']} in {one['split']}"
            at = pointer("details", "learnt_images", f"{of}_listed")
            yield _entry(kind, f"{found[of]} test samples have images {says.format(such)}", at, found[of] + 1e6)


def _worse(split: str, part: Mapping[str, Any], labels: LabelSpace) -> Iterator[dict[str, Any]]:
    for column, blocks in part["disparity"].items():
        for metric, block, at in _leading(blocks, labels):
            sign = -1.0 if worse_if_lower(metric) else 1.0
            for level, told in block["levels"].items():
                away = told.get("difference", {"value": None, "low": None})
                if away["low"] is None:
                    continue
                least = min(sign * away["low"], sign * away["high"])
                if least > 0:
                    others = f"{told['value'] - away['value']:.3f} in the others"
                    says = f"{split}: {metric} is {told['value']:.3f} in {column}={level}, {others}"
                    place = pointer("splits", split, "disparity", column, *at, "levels", level, "difference")
                    yield _entry("worse subgroup", says, place, least, both=AND in column, **away)


def _leading(blocks: Mapping[str, Any], labels: LabelSpace) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    """Yield the block that a column is judged by: the headline's, or accuracy where it has no gap; of each quantity."""
    metric = headline(labels)
    if blocks.get(metric, {}).get("gap", {}).get("value") is None and "accuracy" in blocks:
        metric = "accuracy"
    block = blocks.get(metric, {})
    if "levels" in block:
        yield metric, block, (metric,)
    for name, own in block.get("classes", {}).items():
        if "levels" in own:
            yield metric, own, (metric, "classes", name)


def _unequal(split: str, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for column, blocks in part["disparity"].items():
        for name, odds in blocks.get("equalised_odds", {}).get("classes", {}).items():
            for rate in ("tpr", "fpr"):
                gap = odds[rate]
                if gap["low"]:
                    ends = [f"{gap[end]['value']:.3f} in {column}={gap[end]['level']}" for end in ("worst", "best")]
                    says = f"{split}: {rate.upper()} of {name} is {' and '.join(ends)}"
                    at = pointer("splits", split, "disparity", column, "equalised_odds", "classes", name, rate)
                    numbers = {end: gap[end] for end in ("value", "low", "high")}
                    yield _entry("unequal odds", says, at, gap["low"], both=AND in column, **numbers)


def _empty(split: str, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    metric = part["metrics"].get("auroc", {})
    for name, why in metric.get("undefined", {}).items():
        yield _entry(
            "empty class",
            f"{split}: {name} cannot be measured: {why}",
            pointer("splits", split, "metrics", "auroc", "undefined", name),
            0.0,
        )


def _few(split: str, part: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    unit = report["interval"]["unit"]
    if part["groups"] < FEW:
        yield _entry("few groups", f"{split}: {part['groups']} {unit} groups are few", pointer("splits", split, "groups"), 1.0)
    for column, levels in part["subgroups"].items():
        if few := [level for level, told in levels.items() if "few" in told]:
            says = f"{split}: {len(few)} of {len(levels)} levels of {column} have too few {unit} groups (such as {few[0]})"
            at = pointer("splits", split, "subgroups", column, few[0], "few")
            yield _entry("few groups", says, at, 0.0, both=AND in column)
