"""Tiny SCIN: the authors' two CSV files, column by column, with the traps of release 1.0.0 in eleven cases."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.trailing import Trailing

BOXES = (
    *(f"textures_{n}" for n in ("raised_or_bumpy", "flat", "rough_or_flaky", "fluid_filled")),
    *(
        f"body_parts_{n}"
        for n in ("head_or_neck", "arm", "palm", "back_of_hand", "torso_front", "torso_back", "genitalia_or_groin", "buttocks",
                  "leg", "foot_top_or_side", "foot_sole", "other")
    ),
    *(
        f"condition_symptoms_{n}"
        for n in ("bothersome_appearance", "bleeding", "increasing_size", "darkening", "itching", "burning", "pain",
                  "no_relevant_experience")
    ),
    *(
        f"other_symptoms_{n}"
        for n in ("fever", "chills", "fatigue", "joint_pain", "mouth_sores", "shortness_of_breath", "no_relevant_symptoms")
    ),
)  # fmt: skip
RACES = (
    "american_indian_or_alaska_native", "asian", "black_or_african_american", "hispanic_latino_or_spanish_origin",
    "middle_eastern_or_north_african", "native_hawaiian_or_pacific_islander", "white", "other_race", "prefer_not_to_answer",
)  # fmt: skip
CASE_HEADER = (
    "case_id", "source", "release", "year", "age_group", "sex_at_birth", "fitzpatrick_skin_type",
    *(f"race_ethnicity_{race}" for race in RACES), *BOXES, "related_category", "condition_duration",
    *(f"image_{n}_path" for n in (1, 2, 3)), *(f"image_{n}_shot_type" for n in (1, 2, 3)), "combined_race",
    "race_ethnicity_two_or_more_after_mitigation",
)  # fmt: skip
LABEL_HEADER = (
    "case_id", *(f"dermatologist_gradable_for_skin_condition_{n}" for n in (1, 2, 3)),
    "dermatologist_skin_condition_on_label_name", "dermatologist_skin_condition_confidence", "weighted_skin_condition_label",
    *(f"dermatologist_gradable_for_fitzpatrick_skin_type_{n}" for n in (1, 2, 3)),
    *(f"dermatologist_fitzpatrick_skin_type_label_{n}" for n in (1, 2, 3)),
    "gradable_for_monk_skin_tone_india", "gradable_for_monk_skin_tone_us", "monk_skin_tone_label_india",
    "monk_skin_tone_label_us",
)  # fmt: skip
SUFFICIENT = "DEFAULT_YES_IMAGE_QUALITY_SUFFICIENT"
INSUFFICIENT = "NO_IMAGE_QUALITY_INSUFFICIENT"
NORMAL = "YES_IMAGE_QUALITY_SUFFICIENT_NO_DISCERNIBLE_PATHOLOGY"
SHOTS = ("CLOSE_UP", "AT_AN_ANGLE", "AT_DISTANCE")


def case(case_id, differential, images, ticked=(), fst=("2",), grades=None, monk=("2", "1"), **answers):
    """Return one case: a row of either file.

    `images` are file names without ending; `ticked` boxes; `fst` up to three dermatologists' skin types, "" for one who
    could not grade; `monk` India and US.
    """
    grades = grades or [SUFFICIENT if differential else INSUFFICIENT]
    row = dict.fromkeys(CASE_HEADER, "") | {"case_id": case_id, "source": "SCIN", "release": "1.0.0", "year": "2023"}
    row |= {"age_group": "AGE_UNKNOWN", "sex_at_birth": "OTHER_OR_UNSPECIFIED"} | dict.fromkeys(ticked, "YES") | answers
    for n, image in enumerate(images, start=1):
        row |= {f"image_{n}_path": f"dataset/images/{image}.png", f"image_{n}_shot_type": SHOTS[n - 1]}
    label = dict.fromkeys(LABEL_HEADER, "") | {"case_id": case_id, "weighted_skin_condition_label": str(differential)}
    label["dermatologist_skin_condition_on_label_name"] = str(list(differential))
    label["dermatologist_skin_condition_confidence"] = str([4] * len(differential))
    for n, grade in enumerate(grades, start=1):
        label[f"dermatologist_gradable_for_skin_condition_{n}"] = grade
    for n, skin in enumerate(fst, start=1):
        label[f"dermatologist_gradable_for_fitzpatrick_skin_type_{n}"] = "YES" if skin else "NO"
        label[f"dermatologist_fitzpatrick_skin_type_label_{n}"] = f"FST{skin}" if skin else ""
    for country, tone in zip(("india", "us"), monk, strict=True):
        label |= {f"gradable_for_monk_skin_tone_{country}": str(bool(tone)), f"monk_skin_tone_label_{country}": tone}
    return row, label


def eleven():
    """Return eleven cases; what each is there for stands beside it."""
    return [
        # A tie at the top, its first name outside the commonest three; one photograph.
        case("-1001", {"Inflicted skin lesions": 0.41, "Eczema": 0.41, "Irritant Contact Dermatitis": 0.18}, ["-11"],
             ["textures_raised_or_bumpy", "body_parts_foot_top_or_side", "condition_symptoms_bleeding",
              "condition_symptoms_itching", "other_symptoms_no_relevant_symptoms"], condition_duration="ONE_DAY"),
        # No differential, no answers, nobody could grade; its photograph is the second of 1003.
        case("1002", {}, ["-55"], fst=("",), monk=("", "")),
        # Three photographs; skin types 2 and 3 and a refusal: the median 2.5.
        case("1003", {"Eczema": 1.0}, ["31", "-55", "33"], fst=("2", "3", ""), grades=[SUFFICIENT, INSUFFICIENT, SUFFICIENT],
             age_group="AGE_18_TO_29", sex_at_birth="MALE", combined_race="HISPANIC_LATINO_OR_SPANISH_ORIGIN,WHITE"),
        # Sums to 1.01; equal weights that are not at the top.
        case("-1004", {"Impetigo": 0.55, "Herpes Zoster": 0.23, "Bullous dermatitis": 0.23}, ["41", "42"],
             ["textures_flat", "textures_fluid_filled", "body_parts_arm", "body_parts_other", "other_symptoms_fever"],
             fst=("4", "6", "5"), monk=("9", "10"), age_group="AGE_80_OR_ABOVE", sex_at_birth="FEMALE",
             fitzpatrick_skin_type="FST6", condition_duration="SINCE_CHILDHOOD", combined_race="BLACK_OR_AFRICAN_AMERICAN"),
        # A name with a comma, a tie, and "none of the above": its question is answered.
        case("1005", {"Acute dermatitis, NOS": 0.5, "Eczema": 0.5}, ["51"], ["condition_symptoms_no_relevant_experience"],
             fitzpatrick_skin_type="NONE_IDENTIFIED", condition_duration="UNKNOWN", combined_race="PREFER_NOT_TO_ANSWER"),
        # Sums to 0.99; three tie.
        case("1006", {"Psoriasis": 0.33, "Eczema": 0.33, "Tinea": 0.33}, ["61"], combined_race="TWO_OR_MORE_AFTER_MITIGATION"),
        # Healthy skin.
        case("1007", {}, ["-71"], grades=[NORMAL]),
        # 1008, 1009 and 1010 are tied by two photographs, one after the other.
        case("-1008", {"Tinea": 0.67, "Eczema": 0.33}, ["81"], ["body_parts_leg"], condition_duration="LESS_THAN_ONE_WEEK"),
        case("1009", {"Tinea": 1.0}, ["81", "-91"]),
        case("1010", {"Impetigo": 0.97}, ["-91", "101"]),  # sums to 0.97
        # Nothing but a condition outside the commonest three.
        case("1011", {"Psoriasis": 1.0}, ["111"]),
    ]  # fmt: skip


def many(count):
    """Return plain cases enough for three splits, one to three photographs each."""
    kinds = ({"Eczema": 0.6, "Psoriasis": 0.4}, {"Psoriasis": 1.0}, {"Tinea": 0.75, "Acne": 0.25}, {"Eczema": 1.0})
    return [
        case(
            f"{7919 * (number + 1) * (-1) ** number}",
            kinds[number % 4],
            [f"{-1000 * number - n}" for n in range(number % 3 + 1)],
            ["body_parts_arm"] * (number % 2),
            sex_at_birth=("FEMALE", "MALE")[number % 2],
        )
        for number in range(count)
    ]


def write_tables(folder: Path, cases, encoding="utf-8", newline="\n", trailing="") -> Path:
    """Write both files into a folder, the labels in another order than the cases."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, header, rows in (
        ("scin_cases.csv", CASE_HEADER, [row for row, _ in cases]),
        ("scin_labels.csv", LABEL_HEADER, [label for _, label in cases][::-1]),
    ):
        with (folder / name).open("w", encoding=encoding, newline="") as file:
            writer = csv.writer(Trailing(file, trailing, newline), lineterminator=newline)
            csv.writer(file, lineterminator=newline).writerow(header)
            writer.writerows([row[column] for column in header] for row in rows)
    return folder


def write_images(root: Path, cases, without=()) -> None:
    """Write every photograph once, 20 x 24 pixels of one colour that its name gives; `without` file names are left out."""
    for row, _ in cases:
        for path in (row[f"image_{n}_path"] for n in (1, 2, 3)):
            if path and Path(path).stem not in without:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((24, 20, 3), grey(Path(path).stem), np.uint8)).save(root / path)


def grey(stem: str) -> int:
    """Return the grey level of a photograph."""
    return abs(int(stem)) % 251


def write_bucket(root: Path, cases, without=()) -> Path:
    """Write `dataset/` with both files and the photographs below a root."""
    write_tables(root / "dataset", cases)
    write_images(root, cases, without)
    return root
