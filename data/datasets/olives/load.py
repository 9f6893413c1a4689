"""OLIVES: OCT B-scans, volumes and near-IR fundus images of diabetic eyes, with biomarkers, disease, acuity and thickness.

96 eyes of 87 patients in two trials: PRIME (40 eyes, diabetic retinopathy) and TREX-DME (56 eyes, diabetic macular oedema).
Sixteen biomarkers are graded on the 49 B-scans of each eye's first and last visit: 9,408 rows of the official label file.
Prabhushankar et al. 2022, NeurIPS Datasets and Benchmarks (arXiv 2209.11195); github.com/olivesgatech/OLIVES_Dataset;
Zenodo 10.5281/zenodo.7105232.

In the official file Patient_ID is unique over both trials: 57 to 96 are PRIME's, 201 to 256 TREX-DME's, and nine patients
of TREX-DME have both eyes in it. It is the group; Eye_ID or the subject's folder would part such pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medzoo.data.columns import is_label_column
from medzoo.data.dataset import Dataset, Reader, concept_columns
from medzoo.data.datasets.olives.clinical import with_all_visits
from medzoo.data.datasets.olives.files import file_contents, fundus_samples, join_identical, scan_samples, volume_samples
from medzoo.data.datasets.olives.labels import BIOMARKERS, CONCEPTS, LABELS, locate_csv, read_labels
from medzoo.data.datasets.olives.parquet import ParquetReader, read_shards
from medzoo.data.datasets.olives.several import joined_samples, modalities_option
from medzoo.data.datasets.olives.several import readers as readers_of_several
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.files import FileReader, Missing, StackReader, list_files
from medzoo.data.info import DatasetInfo
from medzoo.data.options import choices, chosen, several_targets
from medzoo.data.splits.groups import hash_split
from medzoo.data.tables import count_note
from medzoo.data.timing import Visits

Target = Literal["biomarkers", "disease", "clinical"]
Images = Literal["bscan", "volume", "fundus"]
Source = Literal["csv", "parquet"]
VisitsRead = Literal["labelled", "all"]
VAL, TEST = 0.15, 0.25  # shares of the patients; ours, for the authors publish no split

INPUTS = ("bcva", "cst")
_SAMPLES = {"bscan": scan_samples, "volume": volume_samples, "fundus": fundus_samples}
_PLAIN = ("trial", "arm", "laterality", "eye_id", "scan", "visit", "week", "disease", "disease_label")


def infos() -> list[DatasetInfo]:
    """Return the cards of every kind of image with every target."""
    return [_info(images, [target]) for images in _SAMPLES for target in LABELS]


def load(
    target: Target = "biomarkers",
    images: Images = "bscan",
    source: Source = "csv",
    disease_names: Mapping[Any, str] | None = None,
    seed: int = 0,
    audit: bool = False,
    root: str | Path = "~/data/olives",
    missing: Missing = "error",
    modalities: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    visits: VisitsRead = "labelled",
    targets: Sequence[str] | None = None,
) -> Dataset:
    """Load OLIVES from the authors' folders and label file, or from their parquet shards.

    Args:
        target: `biomarkers` (16 findings), `disease` (DR, DME) or `clinical` (BCVA in letters and CST in um).
        images: `bscan` (one row a graded B-scan), `volume` (one row a visit of an eye: its 49 B-scans in order; a biomarker
            holds if any slice has it) or `fundus` (one row a visit of an eye: its near-IR image).
        source: `csv` (label file and image folders) or `parquet` (gOLIVES/OLIVES_Dataset; `bscan` alone).
        disease_names: What the parquet's `Disease Label` means, such as `{0: "DR", 1: "DME"}`; the authors do not say.
        seed: Of the split by patient (60/15/25% in train/val/test); the same for every target, kind of image and source.
        audit: Read all images once and merge the groups of patients who share a byte-identical one.
        root: Folder with `Prime_FULL`, `TREX DME` and the label file anywhere below it, or with the shards.
        missing: What to do about files that are not there: `error`, `skip` or `ignore`; see `medzoo.data.images.files`.
        modalities: Several images a sample, in place of `images`: `fundus` and `volume` of a visit of an eye, or with `bscan`
            one row a graded B-scan and the fundus image of its visit. With `missing=skip` a sample lacks the images that are
            not there, and is left out when it lacks all.
        inputs: What stands beside the images: `bcva`, `cst` or both, where they are not the target; None: both, beside several
            `modalities` none.
        visits: `labelled`: the two of an eye in the label file; `all`: with those of `Clinical_Data_Images.xlsx`, which have
            acuity and thickness and no biomarkers.
        targets: Several targets at once, in place of `target`: two or all of its words. A row stays that has a label of any.

    Returns:
        Gray images; groups are patients. Columns `visit` (0, 1, ... within the eye, of the visits in the label file), `week`
        (of treatment; NaN for TREX-DME), `trial`, `arm`, `laterality` and `eye_id`; `input.bcva` and `input.cst` and the
        concepts (the biomarkers) where they are not the target; subgroups `disease` and `arm`. `week` is no input, for
        its absence gives the trial away.

    Raises:
        UnknownNameError: If an option is none of its choices.
        ConfigError: If options do not go together.
        DatasetError: If files are missing or damaged, or hold what they must not.
    """
    choices(target=(target, Target), images=(images, Images), source=(source, Source), missing=(missing, Missing))
    choices(visits=(visits, VisitsRead))
    wanted = several_targets(targets, list(LABELS))
    if wanted and target not in ("biomarkers", wanted[0]):
        raise ConfigError(
            f"data.target={target} is one target, and data.targets=[{', '.join(wanted)}] several; give one of the two"
        )
    goals = wanted or [target]
    names, beside = modalities_option(modalities, images, source), _inputs_option(inputs, goals, modalities is not None)
    folder = Path(root).expanduser()
    readers: dict[str, Reader] = {}
    if source == "parquet":
        if visits == "all":
            raise ConfigError("data.visits=all needs data.source=csv: the parquet form does not say which visit an image is of")
        table, reader, notes = _from_parquet(folder, goals, images, disease_names)
    else:
        table, readers, notes = _from_csv(folder, names or [images], disease_names, missing, visits, several=bool(names))
        reader = next(iter(readers.values()))
    paths = list(dict.fromkeys(column for one in (reader, *readers.values()) for column in one.columns))
    columns: dict[str, Any] = {"sample_id": table["sample_id"], "group": table["patient"]}
    if audit:
        contents = (
            reader.contents(table)
            if isinstance(reader, ParquetReader)
            else chain.from_iterable(file_contents(folder, table[column]) for column in paths)
        )
        columns["group"], found = join_identical(table["patient"], contents)
        notes += found
    columns |= {name: table[name] for name in (*_PLAIN, *paths) if name in table.columns}
    columns |= _targets(table, goals, beside)
    frame = pd.DataFrame(columns)
    frame.insert(1, "split", hash_split(frame["group"], salt=f"olives/{seed}", fractions=(VAL, TEST)))
    labelled = frame[[c for c in frame.columns if is_label_column(c)]].notna().any(axis=1)
    said = f"targets=[{', '.join(wanted)}]" if wanted else f"target={target}"
    if not labelled.any():
        raise DatasetError(f"olives: none of the {len(frame)} rows has a label for data.{said}")
    notes += count_note(~labelled, f"rows left out: they have no label for {said}")
    frame, info = frame[labelled], _info("+".join(names) or images, goals, *notes)
    # By disease, a target has one class in each of the disease's subgroups.
    subgroups = [name for name in ("disease", "arm") if name in frame.columns and "disease" not in goals]
    if "disease" not in frame.columns:
        subgroups.append("disease_label")
    kept = tuple(name for name in ("eye_id", "visit") if name in frame.columns)
    # A slice of an eye is seen again at the next visit, not another one of its volume.
    of = ("eye_id", "scan") if "scan" in frame.columns else ("eye_id",)
    return Dataset(
        info,
        frame.reset_index(drop=True),
        reader,
        info.labels,
        info.concepts,
        tuple(subgroups),
        kept=kept,
        modalities=readers if names else {},
        visits=Visits(of, "week", "weeks", order="visit") if "visit" in frame.columns else None,
        targets={name: LABELS[name] for name in wanted},
    )


def _inputs_option(given: Any, goals: Sequence[str], several: bool) -> list[str]:
    """Return which of `INPUTS` stand beside the images; what is the target never does."""
    names = chosen(given, "inputs", INPUTS)
    if names is not None and "clinical" in goals:
        raise ConfigError(
            f"data.inputs=[{', '.join(names)}]: BCVA and CST are what data.target=clinical predicts; leave them out, or with "
            "data.horizon=next, say data.visit_inputs=[now]"
        )
    return names if names is not None else [] if several or "clinical" in goals else list(INPUTS)


def _from_csv(
    folder: Path,
    images: Sequence[str],
    disease_names: Mapping[Any, str] | None,
    missing: Missing,
    visits: VisitsRead,
    several: bool,
) -> tuple[pd.DataFrame, dict[str, Reader], tuple[str, ...]]:
    """Return the table, the reader of each kind of image, and notes; of `several` the table has a column of paths each."""
    if disease_names is not None:
        raise ConfigError("data.disease_names is for data.source=parquet; the folders of the csv form name the disease")
    present = list_files(folder, once=True)
    table, notes = read_labels(locate_csv(folder, present))
    if visits == "all":
        table, more = with_all_visits(table, folder, present)
        notes += more
    else:
        notes += ("the label file has two visits of an eye, the first and the last; data.visits=all reads the others",)
    if several:
        table, more = joined_samples(table, present, missing, images)
        return table, readers_of_several(folder, images), (*notes, *more)
    table, more = _SAMPLES[images[0]](table, present, missing)
    reader: Reader = StackReader(folder) if images[0] == "volume" else FileReader(folder, channels=1)
    return table, {images[0]: reader}, (*notes, *more)


def _from_parquet(
    folder: Path, goals: Sequence[str], images: Images, disease_names: Mapping[Any, str] | None
) -> tuple[pd.DataFrame, Reader, tuple[str, ...]]:
    if images != "bscan":
        raise ConfigError(f"data.images={images} needs data.source=csv: the parquet form has B-scans alone, without visits")
    if "disease" in goals and disease_names is None:
        raise ConfigError(
            "the parquet form's `Disease Label` is a number whose meaning its authors do not state; say it with "
            "data.disease_names={0:DR,1:DME} or {0:DME,1:DR}, or use data.source=csv, whose folders name the disease"
        )
    table, image, notes = read_shards(folder, disease_names)
    return table, ParquetReader(folder, image), notes


def _targets(table: pd.DataFrame, goals: Sequence[str], inputs: Sequence[str]) -> dict[str, pd.Series]:
    """Return the target, concept and input columns; what is a target is neither of the others."""
    columns: dict[str, pd.Series] = {}
    if "biomarkers" not in goals:
        columns |= {column: table[name] for column, name in zip(concept_columns(CONCEPTS), BIOMARKERS, strict=True)}
    for place, goal in enumerate(goals):
        begin = f"targets.{goal}" if place else "target"
        if goal == "biomarkers":
            columns |= {f"{begin}.{name}": table[name] for name in BIOMARKERS}
        elif goal == "disease":
            codes = {name: float(code) for code, name in enumerate(LABELS["disease"].names)}
            columns[begin] = table["disease"].map(codes).astype(np.float64)
        else:
            columns |= {f"{begin}.BCVA": table["bcva"], f"{begin}.CST": table["cst"]}
    return columns | {f"input.{name}": table[name] for name in inputs}


def _info(images: str, goals: Sequence[str], *notes: str) -> DatasetInfo:
    return DatasetInfo(
        name=f"olives/{images}/{'+'.join(goals)}",
        title="OLIVES",
        modality="fundus" if images == "fundus" else "oct",  # of both, what is done to an OCT image suits either
        licence="CC BY 4.0 (Zenodo); MIT by the card on Hugging Face",
        citation=(
            "Prabhushankar M, Kokilepersaud K, Logan Y, et al. OLIVES Dataset: Ophthalmic Labels for Investigating Visual Eye "
            "Semantics. NeurIPS Datasets and Benchmarks (2022)."
        ),
        homepage="https://doi.org/10.5281/zenodo.7105232",
        labels=LABELS[goals[0]],
        concepts=None if "biomarkers" in goals else CONCEPTS,
        split_unit="patient",
        notes=(
            "no official split: patients are divided by a hash, 60/15/25% in train/val/test",
            "disease and trial are one: DR is PRIME, DME is TREX-DME, which may differ in scanner and site too",
            "PED (serous), VMT, disruption of RPE and DRIL are in 0.1 to 0.3% of B-scans: a test split may have none",
            *notes,
        ),
    )
