"""OLIVES in small, as its authors write it: the label file, the folders of both trials, and the parquet shards.

Six patients of PRIME (57 to 62) and six of TREX-DME (201 to 206), two of whom have both eyes in it: 14 eyes, two visits each.
Every trap of the real files is in the tree: CRLF, leading slashes, folders that are nested twice or written in
other case, and files whose extension is not the label file's.
"""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PATH = "Path (Trial/Arm/Folder/Visit/Eye/Image Name)"
SCAN = "Scan (n/49)"
NAMES = [
    "Atrophy / thinning of retinal layers", "Disruption of EZ", "DRIL", "IR hemorrhages", "IR HRF",
    "Partially attached vitreous face", "Fully attached vitreous face", "Preretinal tissue/hemorrhage", "Vitreous debris",
    "VMT", "DRT/ME", "Fluid (IRF)", "Fluid (SRF)", "Disruption of RPE", "PED (serous)", "SHRM",
]  # fmt: skip
HEADER = [PATH, SCAN, *NAMES, "Eye_ID", "BCVA", "CST", "Patient_ID"]
# The 26-column form: four more biomarkers among the sixteen, so that whoever counts columns reads the wrong ones.
LONG_HEADER = [
    *HEADER[:15], "Drusen (sub-RPE)", "Drusen (RPD)", "GA/MA areas", *HEADER[15:17], "PED (fibrovascular)", *HEADER[17:]
]  # fmt: skip
PRIME = [(57 + i, f"01-{i + 1:03d}", "OD" if i % 2 else "OS", ("W0", "W104")) for i in range(6)]
TREX = [
    (201, "GILA", "0201GOD", "OD"), (201, "TREX", "0201TOS", "OS"), (202, "GILA", "0202GOD", "OD"),
    (203, "Monthly", "0203MOD", "OD"), (204, "GILA", "0204GOS", "OS"), (204, "Monthly", "0204MOD", "OD"),
    (205, "TREX", "0205TOD", "OD"), (206, "TREX", "0206TOS", "OS"),
]  # fmt: skip


def label_rows(slices=3):
    """Return the label file's rows as dicts of text; biomarker k of a scan is 1 where (patient + scan + k) % 3 is 0."""
    eyes = [(patient, f"/Prime_FULL/{subject}", side, visits) for patient, subject, side, visits in PRIME]
    eyes += [(patient, f"/TREX DME/{arm}/{subject}", side, ("V1", "V12")) for patient, arm, subject, side in TREX]
    rows = []
    for eye, (patient, folder, side, visits) in enumerate(eyes, start=1):
        for visit in visits:
            for scan in range(1, slices + 1):
                name = f"{scan - 1}.tif" if "Prime" in folder else f"TREXJ_{scan - 1:06d}.tif"
                row = {PATH: f"{folder}/{visit}/{side}/{name}", SCAN: str(scan)}
                row |= {marker: str(int((patient + scan + k) % 3 == 0)) for k, marker in enumerate(NAMES)}
                row |= {"Eye_ID": str(eye), "BCVA": str(60 + eye), "CST": str(300 + eye), "Patient_ID": str(patient)}
                rows.append(row)
    return rows


def csv_bytes(rows, header=HEADER, fill="1"):
    """Return the label file with CRLF line ends; columns that a row lacks are filled."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval=fill, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def disk_path(path):
    """Return where a scan of the label file lies on disk: nested, in other case, with another extension."""
    folder, _, name = path.lstrip("/").rpartition("/")
    if folder.startswith("Prime_FULL"):
        stem = name.removesuffix(".tif")
        return f"OLIVES/Prime_FULL/{folder}/{stem}{'.png' if '01-001' in folder else '.tif'}"
    if "0206TOS" in folder:
        return f"OLIVES/{folder.replace('0206TOS', '0206tos')}/{name.upper()}"
    if "0205TOD" in folder:
        return f"OLIVES/{folder}/{name.replace('.tif', '.jpg')}"
    return f"OLIVES/{folder}/{name}"


def gray(number, size=(24, 16)):
    """Return a gray image (width, height) of its own."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_tree(root, rows=None, header=HEADER, images=True):
    """Write the label file and, unless told otherwise, every B-scan and every visit's fundus image."""
    rows = label_rows() if rows is None else rows
    labels = root / "OLIVES_Dataset_Labels" / "ml_centric_labels"
    labels.mkdir(parents=True, exist_ok=True)
    (labels / "Biomarker_Clinical_Data_Images.csv").write_bytes(csv_bytes(rows, header))
    if not images:
        return rows
    for number, row in enumerate(rows):
        path = root / disk_path(row[PATH])
        path.parent.mkdir(parents=True, exist_ok=True)
        gray(number).save(path)
        if row[SCAN] == "1":
            visit, side = path.parent.parent.name, path.parent.name
            gray(10_000 + number, (30, 30)).save(path.parent / f"fundus_{side}_{visit}.tif")
    return rows


def encoded(number):
    """Return the PNG bytes of `gray(number)`."""
    data = io.BytesIO()
    gray(number).save(data, "PNG")
    return data.getvalue()


def write_shards(root, rows=None, unlabelled=2, group=7):
    """Write two shards of `disease_classification` and one of `biomarker_detection`.

    Behind each row come some of the same visit without biomarkers and scan number. `Disease Label` is 0 for PRIME. The image of
    the nth row is `gray(n)`.
    """
    rows = label_rows() if rows is None else rows
    empty = dict.fromkeys([SCAN, *NAMES])
    wide = [one for row in rows for one in (row, *[row | empty] * unlabelled)]
    number = {"Eye_ID": int, "BCVA": float, "CST": float, "Patient_ID": int}
    images = [{"bytes": encoded(n), "path": None} for n in range(len(wide))]
    columns = {"Image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}
    for name in [SCAN, *NAMES]:
        columns[name] = pa.array([None if row[name] in (None, "") else float(row[name]) for row in wide], pa.float64())
    for name, kind in number.items():
        columns[name] = [kind(row[name]) if row[name] else None for row in wide]
    columns["Disease Label"] = [int("Prime" not in row[PATH]) for row in wide]
    table = pa.table(columns)
    half = len(wide) // 2
    folder = root / "disease_classification"
    folder.mkdir(parents=True)
    for part, shard in enumerate((table[:half], table[half:])):
        pq.write_table(shard, folder / f"train-{part:05d}-of-00002.parquet", row_group_size=group)
    other = root / "biomarker_detection"
    other.mkdir()
    pq.write_table(pa.table({"Image": columns["Image"][:2], "B1": [0, 1]}), other / "test-00000-of-00001.parquet")
    return wide


def write_clinical(root, rows=None, slices=3):
    """Write the workbook of all visits, with a visit of each eye between its two labelled ones, and that visit's images.

    Acuity and thickness there are those of the first visit and 5 letters, 20 um more.
    """
    rows = label_rows(slices) if rows is None else rows
    between = {"W0": "W52", "V1": "V6"}
    wide = [(row[PATH], row["BCVA"], row["CST"], row["Eye_ID"], row["Patient_ID"]) for row in rows]
    for number, row in enumerate(rows):
        parts = row[PATH].split("/")
        if parts[-3] in between:
            parts[-3] = between[parts[-3]]
            path = "/".join(parts)
            wide.append((path, int(row["BCVA"]) + 5, int(row["CST"]) + 20, row["Eye_ID"], row["Patient_ID"]))
            file = root / disk_path(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            gray(20_000 + number).save(file)
            if row[SCAN] == "1":
                gray(30_000 + number, (30, 30)).save(file.parent / f"fundus_{parts[-2]}_{parts[-3]}.tif")
    frame = pd.DataFrame(wide, columns=["File_Path", "BCVA", "CST", "Eye_ID", "Patient_ID"])
    frame.astype(dict.fromkeys(frame.columns[1:], int)).to_excel(root / "Clinical_Data_Images.xlsx", index=False)
