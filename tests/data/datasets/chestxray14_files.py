"""Writes small ChestX-ray14 downloads of exactly the authors' format, with the traps of the published files in them.

Real files: Data_Entry_2017_v2020.csv (no comma at the end of a line, ages in years), Data_Entry_2017.csv (a comma at the end
of every line, header included; ages up to 414, or `058Y`), BBox_List_2017.csv (three empty columns in the header alone).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"

# Image, findings, follow-up number, patient, age, sex, view. The follow-up number may differ from the file's name.
Film = tuple[str, str, int, int, str, str, str]
FILMS: tuple[Film, ...] = (
    ("00000001_000.png", "Cardiomegaly", 0, 1, "57", "M", "PA"),
    ("00000001_001.png", "Cardiomegaly|Emphysema", 1, 1, "58", "M", "PA"),
    ("00000002_000.png", "No Finding", 0, 2, "80", "M", "AP"),
    ("00000003_001.png", "Hernia", 0, 3, "74", "F", "PA"),
    ("00000003_002.png", "Hernia|Infiltration", 1, 3, "75", "F", "PA"),
    ("00000004_000.png", "Pleural_Thickening|Atelectasis|Mass", 0, 4, "0", "F", "AP"),
    ("00030805_000.png", "Nodule", 0, 30805, "27", "M", "PA"),
)
TEST = ("00000003_001.png", "00000003_002.png", "00030805_000.png")
BOXES = (
    ("00030805_000.png", "Nodule", "225.084745762712,547.019216763771,86.7796610169491,79.1864406779661"),
    ("00000003_002.png", "Infiltrate", "0,10.5,1024,1013.5"),
    ("00000003_002.png", "Infiltrate", "5,10.5,20,30"),
)


def many_films(patients: int) -> tuple[Film, ...]:
    """Two films a patient; each of the 14 findings in turn, every third film without any."""
    from medzoo.data.datasets.chestxray14.load import FINDINGS

    films = []
    for number in range(2 * patients):
        patient, follow_up = divmod(number, 2)
        found = "No Finding" if number % 3 == 2 else f"{FINDINGS[number % 14]}|{FINDINGS[(number + 5) % 14]}"
        row = (found, follow_up, patient + 1, str(20 + number % 60), "FM"[patient % 2], ("PA", "AP")[number % 2])
        films.append((f"{patient + 1:08d}_{follow_up:03d}.png", *row))
    return tuple(films)


def table_text(films: Iterable[Film] = FILMS, *, header: str = HEADER, last: str = "") -> str:
    """The CSV file's text; `last` is "," in the older release."""
    rows = [",".join(map(str, film)) + ",2682,2749,0.14300000000000002,0.14300000000000002" for film in films]
    return "".join(f"{line}{last}\n" for line in (header, *rows))


def box_text(boxes: Iterable[tuple[str, str, str]] = BOXES) -> str:
    return "".join(f"{line}\n" for line in (BOX_HEADER, *(",".join(box) for box in boxes)))


def write_text(path: Path, text: str, *, bom: bool = False, crlf: bool = False) -> Path:
    """Write a text file as an editor on some machine might have saved it; `.gz` is packed."""
    content = text.replace("\n", "\r\n" if crlf else "\n").encode("utf-8-sig" if bom else "utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_release(
    root: Path,
    films: Sequence[Film] = FILMS,
    test: Sequence[str] = TEST,
    *,
    name: str = "Data_Entry_2017_v2020.csv",
    header: str = HEADER,
    last: str = "",
    lists: str = "",
    bom: bool = False,
    crlf: bool = False,
) -> Path:
    """Write the table and the two lists, without images; `lists` is "_NIH" in a popular copy."""
    write_text(root / name, table_text(films, header=header, last=last), bom=bom, crlf=crlf)
    images = [film[0] for film in films]
    for stem, chosen in (("train_val_list", set(images) - set(test)), ("test_list", set(test))):
        text = "".join(f"{image}\n" for image in images if image in chosen)
        write_text(root / f"{stem}{lists}.txt", text, bom=bom, crlf=crlf)
    return root


def write_images(
    root: Path, images: Iterable[str], *, layout: str = "images/{name}", modes: Sequence[str] = ("L",), side: int = 16
) -> dict[str, np.ndarray]:
    """Write films of noise; returns the gray levels (side, side) of each.

    Args:
        root: The download's folder.
        images: File names.
        layout: Path below the root; `{name}` is the file name, `{part}` 001 to 012 in turn.
        modes: Pillow modes, used in turn; alpha is opaque.
        side: Pixels a side.
    """
    levels = {}
    for number, name in enumerate(images):
        gray = np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)
        mode = modes[number % len(modes)]
        path = root / layout.format(name=name, part=f"{number % 12 + 1:03d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(gray).convert(mode).save(path)
        levels[name] = gray
    return levels
