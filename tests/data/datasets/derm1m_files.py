"""Tiny files in the format of Derm1M v2, with every trap that its notes name; what is in them is made up.

`PRETRAIN` and `VALIDATION` are worked through by hand in the tests. Each row is one line of the table below: cells in the
authors' order of columns, `truncated_caption` being the caption's first 20 characters.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.trailing import Trailing

COLUMNS = (
    "filename", "caption", "truncated_caption", "source", "source_type", "disease_label", "hierarchical_disease_label",
    "skin_concept", "body_location", "symptoms", "age", "gender",
)  # fmt: skip
NONE = "No definitive diagnosis"
NOTHING = ("No visual concepts", "No body location information", "No symptom information", "No age information",
           "No gender information")  # fmt: skip
ONTOLOGY = {
    "inflammatory": ["papulosquamous", "eczematous", "acneiform"],
    "papulosquamous": ["psoriasis"],
    "eczematous": ["atopic dermatitis"],
    "proliferations": ["benign", "malignant"],
    "benign": ["nevus"],
    "malignant": ["melanoma"],
    "melanoma": ["acral melanoma"],
}
PSORIASIS = ("psoriasis", "inflammatory, papulosquamous, psoriasis")
ECZEMA = ("atopic dermatitis", "inflammatory, eczematous, atopic dermatitis")
NEVUS = ("nevus", "proliferations, benign, nevus")
ACRAL = ("acral melanoma", "proliferations, malignant, melanoma, acral melanoma")


def row(filename, caption, source, source_type, diagnosis=(NONE, NONE), rest=NOTHING):
    return dict(zip(COLUMNS, (filename, caption, caption[:20], source, source_type, *diagnosis, *rest), strict=True))


_YOUTUBE, _PUBMED, _PUBLIC = ("youtube", "edu"), ("pubmed_english", "knowledge"), ("public", "edu")
_REDDIT, _IIYI = ("reddit_english", "forum"), ("IIYI_chinese", "forum")
FRAME = "youtube/nSw7XdNR0bg_frame_35881_3.jpg"
PRETRAIN = [
    # Two captions of one frame, and another frame of the same video; a caption with commas, quotes and a line break.
    row(FRAME, 'Red plaques, "silvery"\nscale on the elbow', *_YOUTUBE, PSORIASIS,
        ("erythema, plaque", "elbow", "itching", "45", "male")),
    row(FRAME, "Psoriasis of the elbow", *_YOUTUBE, PSORIASIS, ("plaque,scale", "Elbow", "", "45-year-old", "Male")),
    row("youtube/nSw7XdNR0bg_frame_40000_1.jpg", "The same patient a week later", *_YOUTUBE, (NONE.upper(), NONE.lower()),
        tuple(text.upper() for text in NOTHING)),
    # A video id with an underscore and a hyphen.
    row("youtube/-_Xd_NR0bg_frame_12_0.jpg", "A mole", *_YOUTUBE, NEVUS, ("Plaque", "back", "nan", "6 months", "F")),
    # A path of two levels; one that the ontology does not know; one whose step it does not have.
    row("pubmed/PMC123_fig1.png", "Dermatitis", *_PUBMED, ("eczematous", "inflammatory, eczematous"),
        ("erythema", "arm", "No symptom information", "40s", "unknown")),
    row("pubmed/PMC123_fig2.png", "Odd", *_PUBMED, ("odd", "inflammatory, oddities, odd"), ("", "", "", "", "")),
    row("pubmed/PMC200_fig1.png", "Stray", *_PUBMED, ("nevus", "proliferations, malignant, nevus")),
    # Spellings that differ in case; a row that repeats the one before it, and one that does so but for the age.
    row("public/img_1.jpg", "", *_PUBLIC, ("Psoriasis", "Inflammatory, Papulosquamous, psoriasis")),
    row("public/img_2.jpg", "Eczema", *_PUBLIC, ECZEMA, ("erythema", *NOTHING[1:3], "150", "woman")),
    row("public/img_2.jpg", "Eczema", *_PUBLIC, ECZEMA, ("erythema", *NOTHING[1:3], "150", "woman")),
    row("public/img_2.jpg", "Eczema", *_PUBLIC, ECZEMA, ("erythema", *NOTHING[1:3], "15", "woman")),
    row("IIYI/帖子_7.jpg", "手掌红斑", *_IIYI, ECZEMA, (*NOTHING[:3], "3 weeks", "female")),
    row("reddit/t3_abc.jpg", "What is this?", *_REDDIT, NEVUS, (*NOTHING[:3], "80 years old", "No gender information")),
    row("reddit/t3_abd.jpg", "And this?", *_REDDIT, NEVUS),
    row("reddit/t3_abe.jpg", "Or this", *_REDDIT, ACRAL, ("ulcer", *NOTHING[1:])),
]  # fmt: skip
VALIDATION = [
    row("youtube/ZZZZZZZZZZZ_frame_1_0.jpg", "Nevus of the scalp", *_YOUTUBE, NEVUS, ("scale", "scalp", "", "17.5", "m")),
    row("public/img_90.jpg", "Plaque psoriasis", *_PUBLIC, PSORIASIS, ("plaque", *NOTHING[1:])),
    row("public/img_91.jpg", "A disease that pretrain does not have", *_PUBLIC, ("lupus", "inflammatory, acneiform, lupus")),
]


def write_csv(path, rows, *, bom=False, line_end="\n", columns=COLUMNS, tail=""):
    text = io.StringIO(newline="")
    writer = csv.writer(Trailing(text, tail, line_end), lineterminator=line_end)
    writer.writerow(columns)
    writer.writerows([cells.get(column, "") for column in columns] for cells in rows)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode("utf-8"))


def write_images(root, filenames, size=36):
    """Draw an image for each file name: 36 x 24 pixels of one colour, which follows from the name."""
    for name in filenames:
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.frombuffer(name.encode("utf-8")[-7:-4], dtype=np.uint8)
        Image.fromarray(np.broadcast_to(colour, (size, size * 2 // 3, 3)).copy()).save(path)


def write_derm1m(root, pretrain=PRETRAIN, validation=VALIDATION, *, ontology=ONTOLOGY, images=True, **options):
    """Write the files below a folder and return it."""
    root.mkdir(parents=True, exist_ok=True)
    write_csv(root / "Derm1M_v2_pretrain.csv", pretrain, **options)
    write_csv(root / "Derm1M_v2_validation.csv", validation, **options)
    if ontology is not None:
        (root / "ontology.json").write_text(json.dumps(ontology), encoding="utf-8")
    if images:
        write_images(root, {cells["filename"] for cells in [*pretrain, *validation]})
    return root


def many_rows(videos, images, prefix="", source=_PUBLIC):
    """Return rows of several videos of three frames each, every frame with two captions, and of single images."""
    diagnoses = (PSORIASIS, ECZEMA, NEVUS, ACRAL)
    rows = []
    for video in range(videos):
        for frame in range(3):
            name = f"youtube/{prefix}vid{video:05d}ab_frame_{frame * 100}_0.jpg"
            rows += [row(name, f"caption {k} of frame {frame}", *_YOUTUBE, diagnoses[video % 4]) for k in range(2)]
    for image in range(images):
        rows.append(row(f"public/{prefix}img_{image}.jpg", f"image {image}", *source, diagnoses[image % 4]))
    return rows
