"""OLIVES: OCT B-scans, volumes and near-IR fundus images of diabetic eyes, with biomarkers, disease, acuity and thickness.

96 eyes of 87 patients in two trials: PRIME (40 eyes, diabetic retinopathy) and TREX-DME (56 eyes, diabetic macular oedema).
Sixteen biomarkers are graded on the 49 B-scans of each eye's first and last visit: 9,408 rows of the official label file.
Prabhushankar et al. 2022, NeurIPS Datasets and Benchmarks (arXiv 2209.11195); github.com/olivesgatech/OLIVES_Dataset;
Zenodo 10.5281/zenodo.7105232.

In the official file Patient_ID is unique over both trials: 57 to 96 are PRIME's, 201 to 256 TREX-DME's, and nine patients
of TREX-DME have both eyes in it. It is the group; Eye_ID or the subject's folder would part such pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medzoo.data.dataset import Dataset, Reader, concept_columns, target_columns
from medzoo.data.datasets.olives.files import file_contents, fundus_samples, join_identical, scan_samples, volume_samples
from medzoo.data.datasets.olives.labels import BIOMARKERS, CONCEPTS, LABELS, locate_csv, read_labels
from medzoo.data.datasets.olives.parquet import ParquetReader, read_shards
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.files import FileReader, Missing, StackReader, list_files
from medzoo.data.info import DatasetInfo
from medzoo.data.options import choices
from medzoo.data.splits.groups import hash_split
from medzoo.data.tables import count_note

Target = Literal["biomarkers", "disease", "clinical"]
Images = Literal["bscan", "volume", "fundus"]
Source = Literal["csv", "parquet"]
VAL, TEST = 0.15, 0.25  # shares of the patients; ours, for the authors publish no split

_MODALITIES = {"bscan": "oct", "volume": "oct", "fundus": "fundus"}
_SAMPLES = {"bscan": scan_samples, "volume": volume_samples, "fundus": fundus_samples}
_PLAIN = ("trial", "arm", "laterality", "eye_id", "scan", "visit", "week", "disease", "disease_label")


def infos() -> list[DatasetInfo]:
    """Return the cards of every kind of image with every target."""
    return [_info(images, target) for images in _SAMPLES for target in LABELS]


def load(
    target: Target = "biomarkers",
    images: Images = "bscan",
    source: Source = "csv",
    disease_names: Mapping[Any, str] | None = None,
    seed: int = 0,
    audit: bool = False,
    root: str | Path = "~/data/olives",
    missing: Missing = "error",
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
    folder = Path(root).expanduser()
    if source == "parquet":
        table, reader, notes = _from_parquet(folder, target, images, disease_names)
    else:
        table, reader, notes = _from_csv(folder, images, disease_names, missing)
    columns: dict[str, Any] = {"sample_id": table["sample_id"], "group": table["patient"]}
    if audit:
        contents = (
            reader.contents(table) if isinstance(reader, ParquetReader) else file_contents(folder, table[reader.columns[0]])
        )
        columns["group"], found = join_identical(table["patient"], contents)
        notes += found
    columns |= {name: table[name] for name in (*_PLAIN, *reader.columns) if name in table.columns}
    columns |= _targets(table, target)
    frame = pd.DataFrame(columns)
    frame.insert(1, "split", hash_split(frame["group"], salt=f"olives/{seed}", fractions=(VAL, TEST)))
    goal = ["target"] if "target" in frame.columns else target_columns(LABELS[target])
    labelled = frame[goal].notna().any(axis=1)
    if not labelled.any():
        raise DatasetError(f"olives: none of the {len(frame)} rows has a label for data.target={target}")
    notes += count_note(~labelled, f"rows left out: they have no label for target={target}")
    frame, info = frame[labelled], _info(images, target, *notes)
    # By disease, a target has one class in each of the disease's subgroups.
    subgroups = [name for name in ("disease", "arm") if name in frame.columns and target != "disease"]
    if "disease" not in frame.columns:
        subgroups.append("disease_label")
    return Dataset(info, frame.reset_index(drop=True), reader, info.labels, info.concepts, tuple(subgroups))


def _from_csv(
    folder: Path, images: Images, disease_names: Mapping[Any, str] | None, missing: Missing
) -> tuple[pd.DataFrame, Reader, tuple[str, ...]]:
    if disease_names is not None:
        raise ConfigError("data.disease_names is for data.source=parquet; the folders of the csv form name the disease")
    present = list_files(folder, ())
    table, notes = read_labels(locate_csv(folder, present))
    notes += ("the label file has two visits of an eye, the first and the last; others, whose labels are an .xlsx, are not read",)
    table, more = _SAMPLES[images](table, present, missing)
    reader: Reader = StackReader(folder) if images == "volume" else FileReader(folder, channels=1)
    return table, reader, (*notes, *more)


def _from_parquet(
    folder: Path, target: Target, images: Images, disease_names: Mapping[Any, str] | None
) -> tuple[pd.DataFrame, Reader, tuple[str, ...]]:
    if images != "bscan":
        raise ConfigError(f"data.images={images} needs data.source=csv: the parquet form has B-scans alone, without visits")
    if target == "disease" and disease_names is None:
        raise ConfigError(
            "the parquet form's `Disease Label` is a number whose meaning its authors do not state; say it with "
            "data.disease_names={0:DR,1:DME} or {0:DME,1:DR}, or use data.source=csv, whose folders name the disease"
        )
    table, image, notes = read_shards(folder, disease_names)
    return table, ParquetReader(folder, image), notes


def _targets(table: pd.DataFrame, target: Target) -> dict[str, pd.Series]:
    """Return the target, concept and input columns; what is the target is neither of the others."""
    columns: dict[str, pd.Series] = {}
    if target == "biomarkers":
        columns |= {f"target.{name}": table[name] for name in BIOMARKERS}
    else:
        columns |= {column: table[name] for column, name in zip(concept_columns(CONCEPTS), BIOMARKERS, strict=True)}
    if target == "disease":
        codes = {name: float(code) for code, name in enumerate(LABELS["disease"].names)}
        columns["target"] = table["disease"].map(codes).astype(np.float64)
    if target == "clinical":
        columns |= {"target.BCVA": table["bcva"], "target.CST": table["cst"]}
    else:
        columns |= {"input.bcva": table["bcva"], "input.cst": table["cst"]}
    return columns


def _info(images: str, target: str, *notes: str) -> DatasetInfo:
    return DatasetInfo(
        name=f"olives/{images}/{target}",
        title="OLIVES",
        modality=_MODALITIES[images],
        licence="CC BY 4.0 (Zenodo); MIT by the card on Hugging Face",
        citation=(
            "Prabhushankar M, Kokilepersaud K, Logan Y, et al. OLIVES Dataset: Ophthalmic Labels for Investigating Visual Eye "
            "Semantics. NeurIPS Datasets and Benchmarks (2022)."
        ),
        homepage="https://doi.org/10.5281/zenodo.7105232",
        labels=LABELS[target],
        concepts=None if target == "biomarkers" else CONCEPTS,
        split_unit="patient",
        notes=(
            "no official split: patients are divided by a hash, 60/15/25% in train/val/test",
            "disease and trial are one: DR is PRIME, DME is TREX-DME, which may differ in scanner and site too",
            "PED (serous), VMT, disruption of RPE and DRIL are in 0.1 to 0.3% of B-scans: a test split may have none",
            *notes,
        ),
    )
