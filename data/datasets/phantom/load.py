"""Phantom: synthetic images drawn by a program, with known concepts that cause known labels. Needs no files.

For trying things out, for tests, and for questions whose answer must be known beforehand. A phantom looks like no organ
and says nothing about medicine.

Five concepts can be seen in an image: a `lesion`; if there is one, its `irregular border`, `bright spots` in it and a
`dark halo` around it; and a `vessel`. The labels follow from them without exception:

- binary: `tumour` is a lesion with an irregular border; everything else is `no tumour`.
- multiclass: `normal` has no lesion; a lesion with an irregular border is a `tumour`; another with bright spots a
  `calcified nodule`; another a `cyst`.
- ordinal: `none` without a lesion, then one grade more for each of irregular border, bright spots and dark halo:
  `minimal`, `mild`, `moderate`, `severe`.
- multilabel: `mass` is a lesion, `calcification` bright spots, `suspicion` an irregular border with a dark halo,
  `supply` a lesion and a vessel.
- regression: `diameter` of the lesion in percent of the image's width (0 without one); `risk` in points: 1 for a
  lesion, 2 for an irregular border, 1 each for bright spots and a dark halo.

With `targets` a sample has several of these labels at once.

A patient has several images, which share organ, texture, sex, age and site, and often the concepts.

With `visits` a patient's images are visits in order, of a lesion that changes by rules: `medzoo.data.datasets.phantom.course`.
With `modalities`, `texts` and `inputs` a sample is several images, text and values: `medzoo.data.datasets.phantom.beside`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.columns import as_further
from medzoo.data.dataset import Dataset, concept_columns, target_columns
from medzoo.data.datasets.phantom.beside import Rule, with_beside
from medzoo.data.datasets.phantom.course import VISITS, with_course
from medzoo.data.datasets.phantom.image import CONCEPTS, SITES, STRIPES, PhantomReader
from medzoo.data.datasets.phantom.regions import PhantomRegions
from medzoo.data.errors import ConfigError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.options import choice, gray_or_colour, several_targets
from medzoo.data.seeding import generator
from medzoo.data.splits.groups import hash_split
from medzoo.data.text.wording import listed

PhantomLabels = Literal["binary", "multiclass", "ordinal", "multilabel", "regression"]
LABELS: Mapping[str, LabelSpace] = {
    "binary": LabelSpace("multiclass", ("no tumour", "tumour")),
    "multiclass": LabelSpace("multiclass", ("normal", "cyst", "calcified nodule", "tumour")),
    "ordinal": LabelSpace("ordinal", ("none", "minimal", "mild", "moderate", "severe")),
    "multilabel": LabelSpace("multilabel", ("mass", "calcification", "suspicion", "supply")),
    "regression": LabelSpace("regression", ("diameter", "risk"), ("percent of width", "points")),
}
CONCEPT_SPACE = ConceptSpace(CONCEPTS, {"lesion": CONCEPTS[:4], "surroundings": CONCEPTS[4:]})
VAL, TEST = 0.15, 0.25  # shares of the patients

_PREVALENCE = (0.72, 0.42, 0.48, 0.45, 0.5)  # of each concept; of those of a lesion, among lesions
_LIKE_PATIENT = 0.7  # how often an image has its patient's concept instead of one of its own
_MISSING_MULTILABEL = 0.1


def infos() -> list[DatasetInfo]:
    """Return the cards of the five label kinds."""
    return [_info(kind) for kind in LABELS]


def load(
    labels: PhantomLabels = "multiclass",
    dims: int = 2,
    size: int | None = None,
    channels: int = 1,
    patients: int = 240,
    images_per_patient: int = 4,
    seed: int = 0,
    noise: float = 0.06,
    missing: float | None = None,
    confounder: float = 0.0,
    stripes: bool = False,
    modalities: list[str] | None = None,
    inputs: list[str] | None = None,
    texts: list[str] | None = None,
    rule: Rule = "plain",
    absent: float = 0.0,
    visits: bool = False,
    targets: list[str] | None = None,
) -> Dataset:
    """Make up patients, their images and labels. Images are drawn when read.

    Args:
        labels: Kind of label; see the module's text for the rules.
        dims: 2 for images, 3 for volumes.
        size: Pixels a side; None: 64 for images, 28 for volumes.
        channels: 1 (gray) or 3 (RGB).
        patients: Number of patients; about 60/15/25% of them in train/val/test.
        images_per_patient: Images a patient on average; each has between 1 and twice that less 1.
        seed: Of everything. A patient does not change when others are added.
        noise: Standard deviation of the pixel noise, as a fraction of white; the higher, the harder.
        missing: Share of label entries, and of concept entries, that are NaN; None: 0.1 for multilabel, else 0.
        confounder: Correlation, 0 to 1, in train and val between stripes in the background and a suspicious label (the
            upper half of the classes or grades; the finding `mass`; a risk of 3 or more). In test it is reversed. At 0
            there are no stripes, unless `stripes`. Where there are, the subgroup column `stripes` says which images have them.
        stripes: At a confounder of 0, stripes in half of the images, whatever is on them.
        modalities: Images of a sample, of `image`, `second` (another drawing of what the first shows) and `volume` (one in three
            dimensions); None: the one image.
        inputs: Values beside the images, of `flag`, `value` (the age) and `category` (the site); None: none.
        texts: Text beside the images, of `note` (a sentence that says whether the patient itches); None: none.
        rule: plain: labels as above, and flag and note agree with the lesion in four of five samples. xor: two classes, `even`
            and `odd`: how many of the images, the flag and the note show something, so that none of them alone tells anything.
        absent: Share of each modality's images, of each text and of each input that are missing at random.
        visits: A patient's images are visits, of a lesion that changes by rules; see `medzoo.data.datasets.phantom.course`.
        targets: Several kinds of label at once, in place of `labels`, each a target by its word: [multiclass, regression]; None:
            one.

    Returns:
        A dataset with concepts, captions, and subgroups `sex`, `age_band` and `site`; `age` in years.

    Raises:
        UnknownNameError: On an unknown label kind.
        ConfigError: If a number is out of range.
    """
    choice("labels", labels, PhantomLabels)
    further = several_targets(targets, list(LABELS))
    if further:
        if labels not in ("multiclass", further[0]) or rule != "plain":
            raise ConfigError(f"phantom: data.targets=[{', '.join(further)}] says what the labels are: leave labels and rule out")
        labels, *further = further  # type: ignore[assignment]
    asked = missing
    gray_or_colour(channels)
    size = (28 if dims == 3 else 64) if size is None else size
    missing = (_MISSING_MULTILABEL if labels == "multilabel" else 0.0) if missing is None else missing
    _check_whole(dims=(dims, 2, 3), size=(size, 16, 1024), seed=(seed, 0, 2**63 - 1))
    _check_whole(patients=(patients, 4, 100_000), images_per_patient=(images_per_patient, 1, 50))
    if not isinstance(stripes, bool):
        raise ConfigError(f"phantom: stripes={stripes!r} is not true or false")
    for name, share, top in (("noise", noise, 1.0), ("missing", missing, 0.99), ("confounder", confounder, 1.0)):
        if not isinstance(share, int | float) or not 0 <= share <= top:
            raise ConfigError(f"phantom: {name}={share!r} is not a number from 0 to {top:g}")
    if visits and rule != "plain":
        raise ConfigError(
            "data.visits=true is a course of what an image shows, and data.rule=xor draws that anew in each: leave one out"
        )
    table = _images(patients, images_per_patient, seed)
    table = with_course(table, seed) if visits else table
    concepts = table[list(CONCEPTS)].to_numpy(dtype=np.int64)
    table["split"] = hash_split(table["group"], salt=f"phantom/{seed}", fractions=(VAL, TEST))
    values = _targets(labels, concepts, table["diameter"].to_numpy())
    table["drawn"] = concepts @ (1 << np.arange(len(CONCEPTS)))
    subgroups = ["sex", "age_band", "site"]
    if confounder > 0 or stripes:
        striped = _striped(table, _suspicious(labels, values), confounder, seed)
        table["drawn"] += striped.astype(np.int64) << STRIPES
        table["stripes"] = np.where(striped, "striped", "plain")
        subgroups.append("stripes")
    table = _with_labels(table, labels, values, concepts, missing, seed)
    spaces: dict[str, LabelSpace] = {labels: LABELS[labels]} if further else {}
    for kind in further:
        own = _targets(kind, concepts, table["diameter"].to_numpy())
        share = asked if asked is not None else _MISSING_MULTILABEL if kind == "multilabel" else 0.0
        table, spaces[kind] = pd.concat([table, _further(kind, own, table["sample_id"], share, seed)], axis=1), LABELS[kind]
    reader = PhantomReader(seed=seed, size=size, dims=dims, channels=channels, noise=noise)
    dataset = Dataset(
        info=_info(labels, confounder, stripes, seed),
        table=table,
        reader=reader,
        labels=LABELS[labels],
        concepts=CONCEPT_SPACE,
        subgroups=tuple(subgroups),
        regions=PhantomRegions(reader, table, {} if labels == "regression" else _held(labels, values)),
        targets=spaces,
        visits=VISITS if visits else None,
    )
    return with_beside(dataset, reader, modalities, inputs, texts, rule, absent, missing)


def _held(kind: str, targets: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
    """Return class or finding → (N,) whether an image truly has it, of those that a lesion makes."""
    names = LABELS[kind].names
    if LABELS[kind].exclusive:
        return {name: targets == code for code, name in enumerate(names) if code}
    return {name: targets[:, place] == 1 for place, name in enumerate(names)}


def _check_whole(**ranges: tuple[Any, int, int]) -> None:
    for name, (value, low, high) in ranges.items():
        if not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"phantom: {name}={value!r} is not a whole number from {low} to {high}")


def _images(patients: int, images_per_patient: int, seed: int) -> pd.DataFrame:
    """Return one row an image: who, and the true state of every concept (0 or 1) under its plain name."""
    rows: list[dict[str, Any]] = []
    for number in range(patients):
        group = f"patient-{number:05d}"
        rng = generator(seed, "patient", group)
        age = int(rng.integers(20, 90))
        patient = {
            "group": group,
            "sex": str(rng.choice(["female", "male"])),
            "age": age,
            "age_band": "under 40" if age < 40 else "40 to 64" if age < 65 else "65 and over",
            "site": str(rng.choice(SITES)),
        }
        own = rng.random(len(CONCEPTS)) < _PREVALENCE
        for image in range(int(rng.integers(1, 2 * images_per_patient))):
            drawn = np.where(rng.random(len(CONCEPTS)) < _LIKE_PATIENT, own, rng.random(len(CONCEPTS)) < _PREVALENCE)
            drawn[1:4] &= drawn[0]  # border, spots and halo are a lesion's
            diameter = float(np.round(rng.uniform(20, 40), 2)) if drawn[0] else 0.0
            identity = {"sample_id": f"{group}/image-{image:02d}", **patient, "diameter": diameter}
            rows.append(identity | dict(zip(CONCEPTS, drawn.astype(int), strict=True)))
    return pd.DataFrame(rows)


def _targets(kind: str, concepts: NDArray[np.int64], diameter: NDArray[np.float64]) -> NDArray[np.float32]:
    """Apply the rules: (N,) codes for exclusive labels, else (N, K)."""
    lesion, irregular, spots, halo, vessel = concepts.T
    if kind == "binary":
        found = irregular
    elif kind == "multiclass":
        found = np.where(irregular == 1, 3, np.where(spots == 1, 2, lesion))
    elif kind == "ordinal":
        found = lesion + irregular + spots + halo
    elif kind == "multilabel":
        found = np.stack([lesion, spots, irregular * halo, lesion * vessel], axis=1)
    else:
        found = np.stack([diameter, lesion + 2 * irregular + spots + halo], axis=1)
    return np.asarray(found, dtype=np.float32)


def _suspicious(kind: str, targets: NDArray[np.float32]) -> NDArray[np.bool_]:
    if kind == "multilabel":
        chosen = targets[:, 0] == 1
    elif kind == "regression":
        chosen = targets[:, 1] >= 3
    else:
        chosen = targets >= LABELS[kind].width / 2
    return np.asarray(chosen, dtype=np.bool_)


def _striped(table: pd.DataFrame, suspicious: NDArray[np.bool_], confounder: float, seed: int) -> NDArray[np.bool_]:
    """Give stripes to (1 + c) / 2 of the suspicious images and (1 - c) / 2 of the others; in test, the reverse."""
    draws = np.array([generator(seed, "stripes", s).random() for s in table["sample_id"]])
    agrees = np.where(table["split"] == "test", -1, 1) * np.where(suspicious, 1, -1)
    return np.asarray(draws < (1 + confounder * agrees) / 2, dtype=np.bool_)


def _with_labels(
    table: pd.DataFrame, kind: str, targets: NDArray[np.float32], concepts: NDArray[np.int64], missing: float, seed: int
) -> pd.DataFrame:
    """Add captions, targets and concepts, the latter two with their gaps."""
    names, exclusive = LABELS[kind].names, LABELS[kind].exclusive
    truth: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    label = [names[int(code)] for code in targets] if exclusive else [""] * len(table)
    captions = [_caption(row, word, seed) for row, word in zip(truth, label, strict=True)]
    values = np.column_stack([targets, concepts.astype(np.float32)])
    # One draw an entry, the same for every share: more missing adds gaps and moves none.
    gaps = np.stack([generator(seed, "missing", row["sample_id"]).random(values.shape[1]) for row in truth]) < missing
    values[gaps] = np.nan
    columns_of = (["target"] if exclusive else target_columns(LABELS[kind])) + concept_columns(CONCEPT_SPACE)
    return table.drop(columns=list(CONCEPTS)).assign(
        caption=captions, **{column: values[:, place] for place, column in enumerate(columns_of)}
    )


def _further(kind: str, targets: NDArray[np.float32], samples: pd.Series, missing: float, seed: int) -> pd.DataFrame:
    """Return the label columns of another of several targets, with gaps of its own."""
    values = targets.reshape(len(targets), -1).copy()
    gaps = np.stack([generator(seed, "missing", kind, sample).random(values.shape[1]) for sample in samples]) < missing
    values[gaps] = np.nan
    columns = ["target"] if LABELS[kind].exclusive else target_columns(LABELS[kind])
    return as_further(pd.DataFrame(values, columns=columns, index=samples.index), kind)


def _caption(row: Mapping[str, Any], label: str, seed: int) -> str:
    """Say what can be seen, in one of several ways; `label` may be empty."""
    rng = generator(seed, "caption", row["sample_id"])
    finding = _finding(row)
    person = f"a {row['age']}-year-old {'woman' if row['sex'] == 'female' else 'man'}"
    templates = [
        f"A synthetic scan showing {finding}.",
        f"Synthetic image of {person}: {finding}.",
        f"Phantom scan, {row['site']} site. There is {finding}.",
        f"{finding[0].upper()}{finding[1:]} in a simulated organ.",
    ]
    if label:
        templates += [
            f"Synthetic scan, {label}: {finding}.",
            f"There is {finding}, labelled {label}, in this phantom.",
            f"A phantom of the kind {label}, with {finding}.",
        ]
    return str(templates[int(rng.integers(len(templates)))])


def _finding(row: Mapping[str, Any]) -> str:
    if not row["lesion"]:
        return "a bright vessel and no lesion" if row["vessel"] else "no lesion and no vessel"
    extent = "large" if row["diameter"] >= 30 else "small"
    signs = ["an irregular border" if row["irregular border"] else "a smooth border"]
    signs += ["bright spots"] * bool(row["bright spots"]) + ["a dark halo"] * bool(row["dark halo"])
    return f"a {extent} lesion with {listed(signs)}" + (" beside a bright vessel" if row["vessel"] else ", without a vessel")


def _info(kind: str, confounder: float = 0.0, stripes: bool = False, seed: int = 0) -> DatasetInfo:
    notes = ["synthetic: drawn by a program, of no patient and without clinical meaning"]
    if confounder == 0 and stripes:
        notes.append("background stripes in half of the images, whatever the label")
    elif confounder > 0:
        notes.append(f"background stripes go with the label (correlation {confounder:g} in train and val, reversed in test)")
    return DatasetInfo(
        name=f"phantom/{kind}",
        title=f"Phantom, {kind} (synthetic images)",
        modality="synthetic",
        licence="CC0-1.0",
        citation="Synthetic; made by medzoo. Nothing to cite.",
        homepage="",
        labels=LABELS[kind],
        concepts=CONCEPT_SPACE,
        split_unit="patient",
        notes=tuple(notes),
        population=f"phantom/{seed}",
    )
