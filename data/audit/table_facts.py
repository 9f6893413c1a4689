"""What the table alone tells an audit: what is left out, what looks alike, what contradicts itself, what cannot be learnt."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medzoo.data.audit.identifying import identified, identified_lines
from medzoo.data.audit.leakage import ImageKey, images_of
from medzoo.data.audit.named_labels import named_labels
from medzoo.data.columns import targets_matrix
from medzoo.data.dataset import SPLITS, Dataset, concept_matrix, each_target, readers_of, target_matrix
from medzoo.data.images.kinds import SUFFIXES, VOLUME_SUFFIXES, is_folder
from medzoo.data.info import NO_PATIENT
from medzoo.data.splits.patterns import suggest_pattern
from medzoo.data.tables.words import look_alike, shortened

LISTED = 20
_LEFT_OUT = re.compile(r"(\d+) image files are missing .*: (\d+) of (\d+) samples left out$")  # as `with_files` notes it


def table_facts(dataset: Dataset, digests: Mapping[ImageKey, str], held: Mapping[ImageKey, int]) -> dict[str, Any]:
    """Return what a report says beside what decoding tells.

    Args:
        dataset: The dataset.
        digests: Image (`images_of`) → digest of the pixels, empty where they cannot be read.
        held: The same → how many frames the file holds.
    """
    return {
        "left_out": left_out(dataset.info.notes),
        "unnamed": unnamed_images(dataset),
        "alike": alike(dataset),
        "contradictions": contradictions(dataset, digests),
        "beside_labels": beside_labels(dataset),
        "unlearnt": unlearnt(dataset),
        "unknown_patient": unknown_patient(dataset),
        "frames": frames_held(dataset, held),
        "inputs": identified(dataset),
        "texts": named_labels(dataset),
    }


def left_out(notes: Sequence[str]) -> dict[str, Any]:
    """Return how many files are missing and samples left out for it, of how many; empty if none is."""
    for note in notes:
        if found := _LEFT_OUT.match(note):
            files, samples, of = map(int, found.groups())
            return {"files": files, "samples": samples, "of": of, "share": samples / of if of else 0.0}
    return {}


def unnamed_images(dataset: Dataset) -> dict[str, Any]:
    """Return how many images that no row names lie in the folders of a user's own table's images; empty if none does.

    Looked at are the folders that hold an image of the table's, without those below them.
    """
    if not dataset.info.populations:
        return {}
    readers = readers_of(dataset)
    named = {path for name, key in {one for keys in images_of(dataset) for one in keys} for path in readers[name].files(*key)}
    beside = sorted(
        entry.name
        for folder in {path.parent for path in named if is_folder(path.parent)}
        for entry in folder.iterdir()
        if entry not in named and entry.name.lower().endswith((*SUFFIXES, *VOLUME_SUFFIXES)) and not entry.name.startswith(".")
    )
    return {"images": len(beside), "listed": beside[:LISTED]} if beside else {}


def alike(dataset: Dataset) -> dict[str, Any]:
    """Return the names of groups, classes and subgroups that look alike, and groups whose numbers a spreadsheet shortened."""
    groups = [] if dataset.info.split_unit in NO_PATIENT else [str(group) for group in dataset.table["group"].unique()]
    found = {"groups": look_alike(groups)}
    for target, alone in each_target(dataset).items():
        names = () if alone.labels is None else alone.labels.names
        found[f"classes of {target}" if target else "classes"] = look_alike(names)
    for column in dataset.subgroups:
        levels = dataset.table[column].dropna().unique()
        found[f"levels of {column}"] = look_alike(level for level in levels if isinstance(level, str))
    report: dict[str, Any] = {
        what: {"sets": len(sets), "listed": [list(names) for names in sets[:LISTED]]} for what, sets in found.items() if sets
    }
    if cut := shortened(groups):
        report["shortened"] = {"groups": len(cut), "listed": cut[:LISTED]}
    return report


def contradictions(dataset: Dataset, digests: Mapping[ImageKey, str]) -> dict[str, Any]:
    """Return how many images have several labels that differ: in several rows of one file, or in files of the same pixels.

    Of several modalities or views a sample has all of them together: one that two samples share contradicts nothing.

    Args:
        dataset: With its table.
        digests: Image (`images_of`) → a digest of the pixels, of images that were decoded.
    """
    labels, ids = dataset.labels, dataset.table["sample_id"].to_numpy()
    if labels is None:
        return {}
    targets = targets_matrix(dataset.table, dataset.targets) if dataset.targets else target_matrix(dataset.table, labels)
    rows_of: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row, keys in enumerate(images_of(dataset)):
        if shown := tuple((key[0], digests.get(key) or key) for key in keys):
            rows_of[shown].append(row)
    several = {image: rows for image, rows in rows_of.items() if len(rows) > 1}
    differing = []
    for rows in several.values():
        own = targets[rows]
        low, high = (np.where(np.isnan(own), other, own) for other in (np.inf, -np.inf))
        if (low.min(axis=0) < high.max(axis=0)).any():
            differing.append([str(ids[row]) for row in rows[:10]])
    return {"images": len(several), "contradictory": len(differing), "listed": differing[:LISTED]} if several else {}


def beside_labels(dataset: Dataset) -> dict[str, Any]:
    """Return how many samples have each concept, 0 or 1, and a caption, in each split."""
    result: dict[str, Any] = {}
    for split in SPLITS:
        rows = dataset.rows(split)
        if not len(rows):
            continue
        entry: dict[str, Any] = {}
        if dataset.concepts is not None:
            known = concept_matrix(rows, dataset.concepts)
            entry["concepts"] = {
                name: {"present": int((column > 0.5).sum()), "observed": int((~np.isnan(column)).sum())}
                for name, column in zip(dataset.concepts.names, known.T, strict=True)
            }
        if "caption" in rows:
            entry["captions"] = {"samples": len(rows), "captions": int(rows["caption"].notna().sum())}
        if entry:
            result[split] = entry
    return result


def unlearnt(dataset: Dataset) -> list[str]:
    """Return the classes of which no training sample is labelled; of several targets as `target: class`."""
    found = []
    for target, alone in each_target(dataset).items():
        labels, begin = alone.labels, f"{target}: " * bool(target)
        if labels is not None and labels.kind != "regression":
            columns = np.nan_to_num(target_matrix(alone.rows("train"), labels)).T
            found += [begin + name for name, column in zip(labels.names, columns, strict=True) if not (column > 0).any()]
    return found


def unknown_patient(dataset: Dataset) -> dict[str, Any]:
    """Return that a user's own data know no patient, and a pattern that may find one; empty where a group is known."""
    if dataset.info.split_unit not in NO_PATIENT or not dataset.info.populations:
        return {}
    column = dataset.reader.columns[0]
    names = dataset.table[column if column.startswith("path") else "sample_id"].dropna().astype(str)
    suggested = suggest_pattern(sorted(set(names)))
    return {"pattern": None, "groups": None} if suggested is None else {"pattern": suggested[0], "groups": suggested[1]}


def frames_held(dataset: Dataset, held: Mapping[ImageKey, int]) -> dict[str, Any]:
    """Return how many of the files that were looked at hold several frames, and what the dataset's option makes of them.

    Args:
        dataset: The dataset.
        held: Image (`images_of`) → how many frames its file holds.

    Returns:
        `files`, `least`, `most` and `total` frames, `images` that are read from them, `option` (of modalities that differ in it
        `modalities`); empty if no file holds several.
    """
    files: dict[tuple[Any, ...], int] = {}
    images, readers, options = 0, readers_of(dataset), set()
    for (name, key), count in held.items():
        if count > 1:
            files[tuple(readers[name].files(*key))] = count
            options.add(readers[name].frames)
            images += 1
    if not files:
        return {}
    counts = list(files.values())
    told = {"files": len(counts), "least": min(counts), "most": max(counts), "total": sum(counts)}
    return {**told, "images": images, "option": options.pop() if len(options) == 1 else "modalities"}


def fact_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the lines on what `audit` learnt from this file's functions."""
    lines = []
    for split, entry in report["beside_labels"].items():
        if concepts := entry.get("concepts"):
            lines += ["", f"concepts of {split}"]
            lines += [f"  {name:<40} {counts['present']:>10} of {counts['observed']:>8}" for name, counts in concepts.items()]
        if captions := entry.get("captions"):
            lines.append(f"captions of {split}: {captions['captions']} of {captions['samples']} samples have one")
    lines += identified_lines(report["inputs"])
    for name, about in report["texts"].items():
        lines.append(f"text {name!r}: {about['texts']} samples looked through for the names of labels")
    if gone := report["left_out"]:
        lines.append(
            f"left out: {gone['samples']} of {gone['of']} samples ({gone['share']:.1%}), {gone['files']} image files are missing"
        )
    if unnamed := report["unnamed"]:
        lines.append(f"no row names {unnamed['images']} images that lie beside the table's, such as {unnamed['listed'][0]}")
    for what, found in report["alike"].items():
        if what == "shortened":
            lines.append(
                f"look at the groups: {found['groups']} are numbers as spreadsheets shorten them ({found['listed'][0]!r}): "
                "several patients may have become one"
            )
            continue
        names = " and ".join(map(repr, found["listed"][0][:3]))
        more = f" ({found['sets']} such sets)" if found["sets"] > 1 else ""
        lines.append(f"look at the {what}: {names} look alike{more}: one, or several?")
    if report["unlearnt"]:
        lines.append(f"look at the classes: no training sample of {', '.join(report['unlearnt'][:12])}")
    if (found := report["contradictions"]).get("contradictory"):
        lines.append(
            f"look at the labels: {found['contradictory']} of {found['images']} images that stand in several samples have "
            f"contradictory labels, such as {' and '.join(found['listed'][0][:2])}"
        )
    if held := report["frames"]:
        said = f"{held['files']} files hold several frames ({held['least']} to {held['most']}, {held['total']} in all)"
        made = {
            "members": f"{held['images']} of them are images of their own (data.frames=members, data.frame_number)",
            "volume": "each file is one volume, its planes in the file's order (data.frames=volume)",
            "modalities": "they are read as data.modalities says of each",
        }
        lines.append(f"{said}: {made.get(held['option'], 'each is refused, or of an animated PNG the first picture read')}")
    if report["unknown_patient"]:
        pattern, groups = report["unknown_patient"]["pattern"], report["unknown_patient"]["groups"]
        offered = f", such as data.group_pattern='{pattern}', which finds {groups}" if pattern else ""
        lines.append(
            f"no patient is known: every {report['split_unit']} is its own group; data.group_pattern finds one in the names of "
            f"files{offered}"
        )
    return lines
