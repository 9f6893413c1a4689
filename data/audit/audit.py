"""What is in a dataset, what is missing, and what leaks from one split into another: everything `medzoo verify` reports."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.audit.greys import ENOUGH, share_used, warning_lines
from medzoo.data.audit.table_facts import fact_lines, table_facts
from medzoo.data.dataset import SPLITS, Dataset, target_matrix
from medzoo.data.download import file_checksum
from medzoo.data.errors import MedzooError
from medzoo.data.seeding import stable_hash
from medzoo.data.splits.groups import shared_groups
from medzoo.data.splits.subgroups import level_names

NEAR_BITS = 3
"""Perceptual hashes (64 bits) that differ in at most so many count as near-identical. With 3, two hashes agree in at least one of
their four 16-bit quarters, so that comparing within quarters misses none."""
LISTED = 100
"""Longest list of offenders in a report; the count is always whole."""


@dataclass(frozen=True)
class ImageFacts:
    """What decoding one image told.

    Attributes:
        digest: SHA-256 of its pixels, shape and type; files that differ in compression alone agree. Empty if unreadable.
        perceptual: 64-bit perceptual hash, or None if not asked for.
        error: Why it cannot be read; empty if it can.
        share: How much of the grey range it uses, 0..1.
        assumed: The range that was taken, if its file says none.
        held: How many frames its file holds.
    """

    digest: str
    perceptual: int | None = None
    error: str = ""
    share: float = 1.0
    assumed: str | None = None
    held: int = 1


def audit(
    dataset: Dataset,
    *,
    images: int | None = None,
    deep: bool = False,
    partial: bool = False,
    workers: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Audit a dataset.

    Args:
        dataset: Loaded with shared groups allowed, so that they can be reported.
        images: How many images to decode and compare, chosen by a hash of their names; None: all.
        deep: Compare perceptual hashes too.
        partial: The user knows that files are missing: fewer samples than the authors state are then no problem.
        workers: Threads that decode.
        advance: Called with the number of images done since the last call.

    Returns:
        A JSON-ready report: `counts, files, images, labels, subgroups, leakage, notes`, what `table_facts` tells, `warnings`,
        one line for each thing to look at, and `problems`, one for each that is wrong. Near-identical pairs are listed, not
        counted as wrong: films of one region look alike. So are names that look alike, and labels of one image that differ:
        annotators may.
    """
    facts, places = _look_at_images(dataset, images, deep, workers, advance)
    report: dict[str, Any] = {
        "dataset": dataset.info.name,
        "title": dataset.info.title,
        "licence": dataset.info.licence,
        "split_unit": dataset.info.split_unit,
        "counts": _counts(dataset),
        "files": _files(dataset),
        "images": _readable(dataset, facts, places),
        "labels": _labels(dataset),
        "subgroups": {column: _levels(dataset, column) for column in dataset.subgroups},
        "leakage": _leakage(dataset, facts, places, deep),
        **table_facts(
            dataset, {key: seen.digest for key, seen in facts.items()}, {key: seen.held for key, seen in facts.items()}
        ),
        "notes": list(dataset.info.notes),
    }
    report["warnings"] = warning_lines(report["images"])
    report["problems"] = _problems(report, partial)
    return report


def _look_at_images(
    dataset: Dataset, limit: int | None, deep: bool, workers: int, advance: Callable[[int], None]
) -> tuple[dict[Any, ImageFacts], dict[Any, list[int]]]:
    """Decode each distinct image once; returns what was seen, and the rows of each image."""
    reader = dataset.reader
    columns = [dataset.table[c].to_numpy(dtype=object) for c in reader.columns]
    places: dict[Any, list[int]] = defaultdict(list)
    for row, values in enumerate(zip(*columns, strict=True)):
        for key in reader.images(*values).values():
            places[key].append(row)
    chosen = list(places)
    if limit is not None and limit < len(chosen):
        chosen = sorted(chosen, key=lambda key: stable_hash("\x1f".join(map(str, key))))[:limit]
    facts: dict[Any, ImageFacts] = {}
    counted: dict[tuple[Path, ...], int] = {}

    def held_of(key: Any) -> int:
        files = tuple(reader.files(*key))
        if files not in counted:  # once for all frames of a file, which counting reads whole
            counted[files] = reader.held(*key)
        return counted[files]

    def look(key: Any) -> ImageFacts:
        try:
            pixels = reader.read(*key)
        except (MedzooError, OSError) as error:
            return ImageFacts("", error=str(error), held=held_of(key))
        described = f"{pixels.dtype}{pixels.shape}".encode()
        digest = hashlib.sha256(described + np.ascontiguousarray(pixels).tobytes()).hexdigest()
        hashed = _perceptual(pixels) if deep else None
        return ImageFacts(digest, hashed, share=share_used(pixels), assumed=reader.assumed(*key), held=held_of(key))

    with ThreadPoolExecutor(workers) as pool:
        for key, seen in zip(chosen, pool.map(look, chosen), strict=True):
            facts[key] = seen
            advance(1)
    return facts, dict(places)


def _perceptual(pixels: NDArray[Any]) -> int:
    """Return the 64-bit DCT hash (Zauner 2010) of the gray image, of a volume its middle slice."""
    import imagehash

    flat = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    gray = flat.astype(np.float64).mean(axis=0) * (255 if flat.dtype == np.float32 else 1)
    return int(str(imagehash.phash(Image.fromarray(np.round(gray).astype(np.uint8)))), 16)


def _counts(dataset: Dataset) -> dict[str, Any]:
    stated = dataset.info.counts
    parts = {split: dataset.rows(split) for split in SPLITS}
    return {
        split: {"samples": len(rows), "groups": int(rows["group"].nunique()), "stated": stated.get(split)}
        for split, rows in parts.items()
        if len(rows) or split in stated
    }


def _files(dataset: Dataset) -> list[dict[str, str]]:
    """Compare the files the card lists with what lies under the dataset's root."""
    root = dataset.options.get("root")
    rows = []
    for file in dataset.info.files:
        path = None if root is None else Path(str(root)).expanduser() / file.name
        if path is None or not path.is_file():
            status = "not there"
        elif not file.checksum:
            status = "there, no checksum published"
        else:
            kind, _, expected = file.checksum.partition(":")
            found = file_checksum(path, kind)
            status = "as published" if found == expected else f"differs ({kind} {found})"
        rows.append({"name": file.name, "status": status})
    return rows


def _readable(dataset: Dataset, facts: Mapping[Any, ImageFacts], places: Mapping[Any, list[int]]) -> dict[str, Any]:
    ids = dataset.table["sample_id"].to_numpy()
    broken = [{"sample_id": str(ids[places[key][0]]), "error": seen.error} for key, seen in facts.items() if seen.error]
    narrow = {key: seen.share for key, seen in facts.items() if not seen.error and seen.share < ENOUGH}
    first = min(narrow, key=lambda key: places[key][0], default=None)
    return {
        "distinct": len(places),
        "checked": len(facts),
        "unreadable": len(broken),
        "listed": broken[:LISTED],
        "ranges": dict(Counter(seen.assumed for seen in facts.values() if seen.assumed is not None)),
        "narrow": {
            "count": len(narrow),
            "sample_id": None if first is None else str(ids[places[first][0]]),
            "levels": None if first is None else round(narrow[first] * 255) + 1,
        },
    }


def _labels(dataset: Dataset) -> dict[str, Any]:
    labels = dataset.labels
    if labels is None:
        return {}
    result: dict[str, Any] = {}
    for split in SPLITS:
        rows = dataset.rows(split)
        if not len(rows):
            continue
        targets = target_matrix(rows, labels).astype(np.float64)
        entry: dict[str, Any] = {"labelled": int((~np.isnan(targets)).any(axis=1).sum()), "samples": len(rows), "names": {}}
        for name, column in zip(labels.names, targets.T, strict=True):
            known = column[~np.isnan(column)]
            mean = float(known.mean()) if len(known) else None
            if labels.kind == "regression":
                lowest, highest = (float(known.min()), float(known.max())) if len(known) else (None, None)
                told: dict[str, Any] = {"lowest": lowest, "mean": mean, "highest": highest}
            else:
                told = {"positive": float(known.sum()), "prevalence": mean}
            entry["names"][name] = {"observed": len(known), **told}
        result[split] = entry
    return result


def _levels(dataset: Dataset, column: str) -> dict[str, dict[str, int]]:
    names = pd.Series(level_names(dataset.table[column]))
    counts = pd.crosstab(names, dataset.table["split"].to_numpy())
    return {str(level): {str(split): int(n) for split, n in row.items()} for level, row in counts.iterrows()}


def _leakage(dataset: Dataset, facts: Mapping[Any, ImageFacts], places: Mapping[Any, list[int]], deep: bool) -> dict[str, Any]:
    splits, ids = dataset.table["split"].to_numpy(), dataset.table["sample_id"].to_numpy()
    groups = dataset.table["group"].to_numpy()
    by_digest: dict[str, list[int]] = defaultdict(list)
    for key, seen in facts.items():
        if seen.digest:
            by_digest[seen.digest] += places[key]
    across, between_groups = [], 0
    for rows in by_digest.values():
        found = sorted({str(splits[row]) for row in rows})
        if len(found) > 1:
            across.append({"splits": found, "sample_ids": [str(ids[row]) for row in rows][:10]})
        elif len({groups[row] for row in rows}) > 1:
            between_groups += 1
    shared = shared_groups(dataset.table)
    result: dict[str, Any] = {
        "groups": len(shared),
        "groups_listed": dict(list(shared.items())[:LISTED]),
        "identical": len(across),
        "identical_listed": across[:LISTED],
        "identical_between_groups_of_a_split": between_groups,
    }
    if deep:
        near = _near_pairs(facts, places, splits)
        result["near"] = len(near)
        result["near_listed"] = [{"sample_ids": [str(ids[a]), str(ids[b])], "bits": bits} for a, b, bits in near[:LISTED]]
    return result


def _near_pairs(
    facts: Mapping[Any, ImageFacts], places: Mapping[Any, list[int]], splits: NDArray[Any]
) -> list[tuple[int, int, int]]:
    """Return (row, row, differing bits) of near-identical, not identical, images whose splits differ."""
    seen = [(places[key][0], fact) for key, fact in facts.items() if fact.perceptual is not None]
    if not seen:
        return []
    rows = np.array([row for row, _ in seen])
    hashes = np.array([fact.perceptual for _, fact in seen], dtype=np.uint64)
    digests = np.array([fact.digest for _, fact in seen])
    pairs: dict[tuple[int, int], int] = {}
    for quarter in range(4):
        part = (hashes >> np.uint64(16 * quarter)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
            for place, one in enumerate(bucket):
                others = bucket[place + 1 :]
                bits = np.bitwise_count(hashes[others] ^ hashes[one])
                near = (bits <= NEAR_BITS) & (splits[rows[others]] != splits[rows[one]]) & (digests[others] != digests[one])
                for other, count in zip(others[near], bits[near], strict=True):
                    pairs[tuple(sorted((int(rows[one]), int(rows[other]))))] = int(count)  # type: ignore[index]
    return sorted(((a, b, bits) for (a, b), bits in pairs.items()), key=lambda pair: (pair[2], pair[:2]))


def _problems(report: Mapping[str, Any], partial: bool) -> list[str]:
    found: list[str] = []
    for split, entry in report["counts"].items():
        here, stated = entry["samples"], entry["stated"]
        if stated not in (None, here) and not (partial and here < stated) and not _carved(report["counts"]):
            found.append(f"{split} has {here} samples, the authors state {stated}")
    found += [f"file {file['name']} {file['status']}" for file in report["files"] if file["status"].startswith("differs")]
    if report["images"]["unreadable"]:
        found.append(f"{report['images']['unreadable']} images cannot be read: {report['images']['listed'][0]['error']}")
    if not partial and (gone := report["left_out"]) and gone["share"] > 0.5:
        share = f"{gone['samples']} of {gone['of']} samples ({gone['share']:.1%})"
        found.append(f"{share} are left out: {gone['files']} image files are missing")
    leakage = report["leakage"]
    if leakage["groups"]:
        found.append(f"{leakage['groups']} {report['split_unit']} groups stand in several splits")
    if leakage["identical"]:
        found.append(f"{leakage['identical']} images stand, identical, in several splits")
    return found


def _carved(counts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether val was carved out of train: only their sum can then be compared."""
    if "val" not in counts or counts["val"]["stated"] is not None:
        return False
    train = counts.get("train", {})
    return bool(train.get("samples", 0) + counts["val"]["samples"] == train.get("stated"))


def as_lines(report: Mapping[str, Any]) -> Sequence[str]:
    """Return a report as lines for a terminal."""
    lines = [f"{report['dataset']}: {report['title']} ({report['licence']}); split by {report['split_unit']}", ""]
    for split, entry in report["counts"].items():
        stated = "" if entry["stated"] is None else f", stated {entry['stated']}"
        lines.append(f"{split:<6} {entry['samples']:>8} samples {entry['groups']:>8} groups{stated}")
    for split, entry in report["labels"].items():
        lines += ["", f"labels of {split}: {entry['labelled']} of {entry['samples']} samples have one"]
        for name, values in entry["names"].items():
            if "prevalence" in values:
                share = "-" if values["prevalence"] is None else f"{values['prevalence']:.2%}"
                lines.append(f"  {name:<40} {values['positive']:>10.6g} of {values['observed']:>8} {share:>8}")
            else:
                numbers = [values[key] for key in ("lowest", "mean", "highest")]
                shown = " / ".join("-" if v is None else f"{v:.4g}" for v in numbers)
                lines.append(f"  {name:<40} {values['observed']:>8} values, lowest/mean/highest {shown}")
    for column, levels in report["subgroups"].items():
        lines += ["", f"subgroup {column}"]
        lines += [f"  {level:<24} " + "  ".join(f"{s} {n}" for s, n in counts.items()) for level, counts in levels.items()]
    images, leakage = report["images"], report["leakage"]
    lines += ["", f"images: {images['checked']} of {images['distinct']} distinct ones decoded, {images['unreadable']} unreadable"]
    lines += [f"files: {file['name']} {file['status']}" for file in report["files"]]
    lines.append(
        f"leakage: {leakage['groups']} groups, {leakage['identical']} identical images"
        + (f", {leakage['near']} near-identical pairs" if "near" in leakage else "")
        + f" across splits; {leakage['identical_between_groups_of_a_split']} identical images in different groups of one split"
    )
    if leakage.get("near"):
        first = leakage["near_listed"][0]["sample_ids"]
        lines.append(
            f"look at the {leakage['near']} near-identical pairs, such as {first[0]} and {first[1]}: one patient, or alike?"
        )
    lines += fact_lines(report)
    lines += [f"note: {note}" for note in report["notes"]]
    lines += [f"WARNING: {warning}" for warning in report["warnings"]]
    beside = ", but look at the warnings" if report["warnings"] else ""
    lines += [f"PROBLEM: {problem}" for problem in report["problems"]] or [f"no problem found{beside}"]
    return lines
