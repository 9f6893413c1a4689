"""NIH ChestX-ray14, and its subset of labels ChestX-ray8: 112,120 frontal chest films of 30,805 patients.

Wang et al. 2017, CVPR, 3462-3471 (arXiv 1705.02315). Labels, patients and views are in `Data_Entry_2017[_v2020].csv`, the
official split in two lists of file names, the images in any folders below the root. Column names, traps and counts were
taken from the published files. The boxes drawn on 880 of the films are the dataset's regions, where their file is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.columns import as_further
from medzoo.data.dataset import Dataset, target_columns
from medzoo.data.datasets.chestxray14.boxes import FILES as BOX_FILES
from medzoo.data.datasets.chestxray14.boxes import SIDE, load_boxes
from medzoo.data.datasets.chestxray14.tables import FINDINGS, HOMEPAGE, METADATA, NAME, find_file, read_rows, read_split
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.files import FileReader, Missing, list_files, paths_by_name, with_files
from medzoo.data.info import DatasetInfo
from medzoo.data.inputs import inputs_of
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choice, chosen, several_targets
from medzoo.data.regions.marked import BoxRegions
from medzoo.data.tables import TextTable, count_note

NO_FINDING = "No Finding"
OLDEST = 120.0
"""Years; the older metadata file has ages up to 414."""
INPUTS = ("age", "sex", "view")
TARGETS = ("findings", "view", "sex", "age")
CATEGORIES = {"sex": ("female", "male"), "view": ("PA", "AP")}

_COUNTS = {"train": 86_524, "test": 25_596}  # lines of the two lists; val is carved out of train by patient
_COLUMNS = {
    "image": ("Image Index",),
    "labels": ("Finding Labels",),
    "follow_up": ("Follow-up #",),
    "patient": ("Patient ID",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),  # renamed in the copy NIH serves of late
    "view": ("View Position",),
}
_UNITS_A_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}  # as DICOM writes ages: 058Y, 011M, 001D
_NOTES = (
    "labels were mined from radiology reports by program, over 90% right by the authors' estimate: they are not a reading",
    "the official test set is harder than train (No Finding 38.5% against 58.4%, AP views 56.6% against 35.0%); results on "
    "random splits, such as CheXNet's, do not compare",
)
_NOTES_8 = (
    "a film whose findings are all outside the eight counts as without finding",
    "these are the 112,120 films of ChestX-ray14; the ChestX-ray8 paper counts 108,948",
)


def infos() -> list[DatasetInfo]:
    """Return the cards of the 14 and the 8 labels."""
    return [_info(14), _info(8)]


def load(
    labels: int = 14,
    root: str | Path = "~/data/chestxray14",
    missing: Missing = "error",
    inputs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
) -> Dataset:
    """Load the table of all films; images are read when needed.

    Args:
        labels: 14 findings, or the 8 of ChestX-ray8 (the first eight).
        root: Folder with `Data_Entry_2017_v2020.csv` or `Data_Entry_2017.csv` (either may be `.csv.gz`), the lists
            `train_val_list.txt` and `test_list.txt` (or `..._NIH.txt`), and the images in any folders below it.
        missing: What to do when images are not there: `error`, `skip` them and say so, or `ignore`: they stay in the table
            under their bare file names, and reading one is an error.
        inputs: What stands beside the film as inputs: any of `age` (years), `sex` and `view`, missing where the table has
            them missing; None: nothing.
        targets: Several targets at once, any of `findings` (as `labels` says), `view` (PA, AP), `sex` and `age` (years); what is
            a target is no input. None: the findings alone.

    Returns:
        One row a film, in the file's order: multilabel targets 0 or 1; `group` the patient, 8 digits; split train or test
        (official); `sex` female or male, `age` in years (NaN if not given or over 120), `view` PA or AP; `follow_up`, the
        film's number in the patient's series. Images (1, H, W) uint8, 1024 x 1024 as published.

    Raises:
        ConfigError: If `labels` is neither 14 nor 8, or something is input and target.
        UnknownNameError: If `missing` is none of its three words, or an input or target none that there is.
        DatasetError: If a file or column is missing, a row is bad, or lists, table and images do not agree; one line that
            names the file, the line or the image.
    """
    choice("missing", missing, Missing)
    beside, wanted = chosen(inputs, "inputs", INPUTS), several_targets(targets, TARGETS)
    if shared := [name for name in beside or [] if name in wanted]:
        raise ConfigError(f"data.inputs=[{', '.join(shared)}]: what data.targets predicts is no input; leave it out of one")
    if labels not in (14, 8):
        raise ConfigError(f"{NAME}: labels={labels!r} is neither 14 nor 8")
    space = LabelSpace("multilabel", FINDINGS[:labels])
    folder = Path(root).expanduser()
    source, notes = find_file(folder, METADATA)
    rows = read_rows(source, _COLUMNS)
    table, lacking = _table(rows, space)
    table["split"], unread = read_split(rows, folder)
    notes += lacking + unread
    found = {split: int((table["split"] == split).sum()) for split in _COUNTS}
    if found != _COUNTS:
        counted, official = ("/".join(map(str, c.values())) for c in (found, _COUNTS))
        notes += (f"not the official release: {counted} films in train/test, officially {official}",)
    present = list_files(folder, once=True)
    places = paths_by_name(present, set(rows["image"]), NAME)
    place = rows["image"].map(places).astype(object)
    table["path"] = place.where(place.notna(), rows["image"])
    table, more = with_files(table, present, ["path"], missing, NAME)
    described, columns = inputs_of(table, beside, CATEGORIES)
    spaces, table = _several(table.assign(**columns), space, wanted)
    space = next(iter(spaces.values()), space)
    return Dataset(
        info=replace(_info(labels, *notes, *more), labels=space),
        table=table.reset_index(drop=True),
        reader=FileReader(folder, channels=1),
        labels=space,
        subgroups=("sex", "age", "view"),
        regions=_regions(folder),
        inputs=described,
        targets=spaces,
    )


def _several(table: pd.DataFrame, space: LabelSpace, wanted: Sequence[str]) -> tuple[dict[str, LabelSpace], pd.DataFrame]:
    """Return the label spaces of several targets, none where none are asked for, and the table with their columns."""
    if not wanted:
        return {}, table
    years = LabelSpace("regression", ("age",), ("years",))
    spaces = {name: {"findings": space, "age": years}.get(name) or LabelSpace("multiclass", CATEGORIES[name]) for name in wanted}
    found = {"findings": table[target_columns(space)], "age": table[["age"]].astype(np.float32).set_axis(["target.age"], axis=1)}
    for name in [name for name in wanted if name in CATEGORIES]:
        found[name] = pd.DataFrame({"target": table[name].map(CATEGORIES[name].index, na_action="ignore").astype(np.float64)})
    plain = table.drop(columns=target_columns(space))
    return spaces, pd.concat([plain, *(as_further(found[n], n) if place else found[n] for place, n in enumerate(wanted))], axis=1)


def _regions(folder: Path) -> BoxRegions | None:
    """Return the boxes, where their optional file lies beside the others."""
    if not any((folder / name).is_file() for name in BOX_FILES):
        return None
    return BoxRegions(load_boxes(folder), (SIDE, SIDE), "a radiologist (Wang et al. 2017)")


def _table(rows: TextTable, space: LabelSpace) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table without split and path, indexed as the rows, and notes."""
    image, patient = rows["image"], rows["patient"]
    rows.refuse(~image.str.fullmatch(r"\d{8}_\d{3}\.png"), "image", "not like 00000001_000.png")
    rows.refuse_repeats(image, "image", "keep one line an image")
    rows.refuse(~patient.str.fullmatch(r"\d{1,8}"), "patient", "not a whole number")
    group = patient.str.zfill(8)
    rows.refuse(group != image.str[:8], ["image", "patient"], "which do not fit together")
    # The follow-up number is not the number in the file's name: 24,106 rows of v2020 differ.
    rows.refuse(~rows["follow_up"].str.fullmatch(r"\d{1,9}"), "follow_up", "not a whole number")
    targets = _targets(rows)
    age, notes = _ages(rows)
    table = pd.DataFrame(
        {
            "sample_id": f"{NAME}/" + image.str[:-4],
            "group": group,
            "sex": _coded(rows, "sex", {"F": "female", "M": "male"}),
            "age": age,
            "view": _coded(rows, "view", {"PA": "PA", "AP": "AP"}),
            "follow_up": rows["follow_up"].astype(np.int64),
        }
    )
    for column in ("sex", "view"):
        notes += count_note(table[column].isna(), f"films have no {column}")
    other = ~targets[:, : space.width].any(axis=1) & targets.any(axis=1)
    notes += count_note(other, f"films have findings outside the {space.width} alone: all zero")
    chosen = pd.DataFrame(targets[:, : space.width], index=table.index, columns=target_columns(space))
    return pd.concat([table, chosen], axis=1), notes


def _targets(rows: TextTable) -> NDArray[np.float32]:
    """Return (N, 14) zeros and ones; each distinct text is looked at once (836 of them in v2020)."""
    codes, texts = pd.factorize(rows["labels"])
    known = (*FINDINGS, NO_FINDING)
    found = np.zeros((len(texts), len(FINDINGS)), dtype=np.float32)
    for place, text in enumerate(texts):
        parts = text.split("|")
        if parts != [NO_FINDING] and not set(parts) <= set(FINDINGS):
            if unknown := [part for part in parts if part not in known]:
                first = rows.rows.index[int(np.argmax(codes == place))]
                raise rows.error(first, UnknownNameError("finding", unknown[0], known))
            rows.refuse(codes == place, "labels", f"where {NO_FINDING!r} stands alone or not at all", "correct the line")
        found[place] = [finding in parts for finding in FINDINGS]
    return found[codes]


def _ages(rows: TextTable) -> tuple[pd.Series, tuple[str, ...]]:
    """Return ages in years, NaN where not given or over 120, and notes that count those."""
    parts = rows["age"].str.extract(r"^(\d+(?:\.\d+)?)([DWMY]?)$")
    rows.refuse(parts[0].isna() & (rows["age"] != ""), "age", "not like 58, 058Y, 011M or 001D")
    years = parts[0].astype(np.float64) / parts[1].map(_UNITS_A_YEAR)
    old = count_note(years > OLDEST, f"ages are over {OLDEST:g} years and count as missing")
    return years.where(years <= OLDEST), count_note(years.isna(), "ages are not given") + old


def _coded(rows: TextTable, column: str, codes: Mapping[str, str]) -> pd.Series:
    """Return plain words for a column's codes; missing where the cell is empty."""
    rows.refuse_others(column, [*codes, ""])
    return rows[column].map(codes)


def _info(labels: int, *notes: str) -> DatasetInfo:
    return DatasetInfo(
        name=f"{NAME}/{labels}",
        title=f"NIH ChestX-ray{labels}",
        modality="xray",
        licence="no restrictions on use; link to the NIH download site, cite the paper, acknowledge the NIH Clinical Center",
        citation="Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: hospital-scale chest X-ray database and "
        "benchmarks on weakly-supervised classification and localization of common thorax diseases. CVPR 2017, 3462-3471.",
        homepage=HOMEPAGE,
        labels=LabelSpace("multilabel", FINDINGS[:labels]),
        split_unit="patient",
        counts=dict(_COUNTS),
        notes=(*_NOTES, *(_NOTES_8 if labels == 8 else ()), *notes),
    )
