"""What SCIN's contributors answered and its graders saw: tabular inputs, concepts and subgroups.

Boxes hold `YES` or nothing, and nothing is "not ticked" as well as "not answered". A question with no box ticked at all
is therefore missing (NaN); in a question with one, boxes not ticked are 0. The boxes "none of the above" of the two
symptom questions answer their question and are no item themselves: they are what makes its other items 0.

Values and sentinels: dataset_schema.md of google-research-datasets/scin, and, where the files differ from it
(`AGE_UNKNOWN`, `NONE_IDENTIFIED`), the files of release 1.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.inputs import InputSpace
from medzoo.data.labels import ConceptSpace
from medzoo.data.options import chosen
from medzoo.data.tables import TextTable


@dataclass(frozen=True)
class Question:
    """A question with boxes to tick.

    Attributes:
        prefix: What its columns begin with.
        items: Column ending → concept name.
        none: Ending of the box "none of the above", if it has one.
    """

    prefix: str
    items: Mapping[str, str]
    none: str | None = None

    @property
    def columns(self) -> list[str]:
        """Columns of the items, then that of "none of the above"."""
        return [self.prefix + ending for ending in (*self.items, *([self.none] if self.none else []))]


def _in_words(*codes: str, prefix: str = "", **others: str) -> dict[str, str]:
    """Return code → itself without the prefix, as plain words, or its own of the others."""
    return {code: others.get(code, code.removeprefix(prefix).lower().replace("_", " ")) for code in codes}


QUESTIONS: Mapping[str, Question] = {
    "texture": Question(
        "textures_", _in_words("raised_or_bumpy", "flat", "rough_or_flaky", "fluid_filled", fluid_filled="fluid-filled")
    ),
    "body part": Question(
        "body_parts_",
        _in_words(
            "head_or_neck", "arm", "palm", "back_of_hand", "torso_front", "torso_back", "genitalia_or_groin", "buttocks", "leg",
            "foot_top_or_side", "foot_sole", "other",
            back_of_hand="back of the hand", torso_front="front of the torso", torso_back="back of the torso",
            foot_top_or_side="top or side of the foot", foot_sole="sole of the foot", other="other body part",
        ),
    ),
    "symptom": Question(
        "condition_symptoms_",
        _in_words("bothersome_appearance", "bleeding", "increasing_size", "darkening", "itching", "burning", "pain"),
        none="no_relevant_experience",
    ),
    "other symptom": Question(
        "other_symptoms_",
        _in_words("fever", "chills", "fatigue", "joint_pain", "mouth_sores", "shortness_of_breath"),
        none="no_relevant_symptoms",
    ),
}  # fmt: skip
CONCEPT_SPACE = ConceptSpace(
    tuple(name for question in QUESTIONS.values() for name in question.items.values()),
    {group: tuple(question.items.values()) for group, question in QUESTIONS.items()},
)
AGES = _in_words(
    "AGE_18_TO_29", "AGE_30_TO_39", "AGE_40_TO_49", "AGE_50_TO_59", "AGE_60_TO_69", "AGE_70_TO_79", "AGE_80_OR_ABOVE",
    prefix="AGE_",
)  # fmt: skip
SEXES = _in_words("FEMALE", "MALE")
SKIN_TYPES = tuple(f"FST{i}" for i in range(1, 7))
DURATIONS = _in_words(
    "ONE_DAY", "LESS_THAN_ONE_WEEK", "ONE_TO_FOUR_WEEKS", "ONE_TO_THREE_MONTHS", "THREE_TO_TWELVE_MONTHS", "MORE_THAN_ONE_YEAR",
    "MORE_THAN_FIVE_YEARS", "SINCE_CHILDHOOD",
)  # fmt: skip
WORDS = {
    "age": tuple(AGES.values()),
    "sex": tuple(SEXES.values()),
    "fitzpatrick": SKIN_TYPES,
    "duration": tuple(DURATIONS.values()),
}
"""The inputs that are no box, and what they may be."""
TONES = {"tone": ("fitzpatrick", SKIN_TYPES), "monk": ("monk_us", tuple(str(i) for i in range(1, 11)))}
"""Targets beside the diagnosis: the subgroup column that each is, and its grades from light to dark."""
SUBGROUPS = ("fitzpatrick", "monk_us", "monk_india", "age_group", "sex", "race")
_UNTOLD = "PREFER_NOT_TO_ANSWER"
# What each column may hold beside its levels; all of it is missing.
_SENTINELS = {
    "age_group": "AGE_UNKNOWN",
    "sex_at_birth": "OTHER_OR_UNSPECIFIED",
    "fitzpatrick_skin_type": "NONE_IDENTIFIED",
    "condition_duration": "UNKNOWN",
}
_FITZPATRICK = tuple(f"dermatologist_fitzpatrick_skin_type_label_{i}" for i in (1, 2, 3))
_FITZPATRICK_GRADABLE = tuple(f"dermatologist_gradable_for_fitzpatrick_skin_type_{i}" for i in (1, 2, 3))
_MONK = {"monk_us": "monk_skin_tone_label_us", "monk_india": "monk_skin_tone_label_india"}

CASE_COLUMNS = (*_SENTINELS, "combined_race", *(column for question in QUESTIONS.values() for column in question.columns))
LABEL_COLUMNS = (*_FITZPATRICK, *_FITZPATRICK_GRADABLE, *_MONK.values())


def read_boxes(cases: TextTable, question: Question) -> NDArray[np.float32]:
    """Return the items of one question: (N, items) float32, 1 ticked, 0 not, NaN where no box of the question is ticked.

    Raises:
        DatasetError: If a box holds neither `YES` nor nothing; names its line.
    """
    for column in question.columns:
        cases.refuse_others(column, ("YES", ""))
    ticked = cases.rows[question.columns].isin(["YES"]).to_numpy()
    items = ticked[:, : len(question.items)].astype(np.float32)
    items[~ticked.any(axis=1)] = np.nan
    return items


def make_concepts(cases: TextTable) -> dict[str, NDArray[np.float32]]:
    """Return the columns `concept.<name>` of `CONCEPT_SPACE`, each (N,) float32 of 0, 1 or NaN."""
    return {
        f"concept.{name}": values
        for question in QUESTIONS.values()
        for name, values in zip(question.items.values(), read_boxes(cases, question).T, strict=True)
    }


def make_inputs(cases: TextTable) -> dict[str, NDArray[np.float32]]:
    """Return the columns `input.<name>`, each (N,) float32, NaN where missing.

    `input.age` 0 (18 to 29) to 6 (80 or above); `input.sex` 0 female, 1 male; `input.fitzpatrick` 1 to 6, as the
    contributor judged it; `input.duration` 0 (one day) to 7 (since childhood); then the boxes under the authors' column
    names, `input.textures_flat`, 0 or 1. Nothing is scaled.

    Raises:
        DatasetError: On an answer the authors do not list; names its line.
    """
    inputs = {
        "input.age": _positions(cases, "age_group", tuple(AGES)),
        "input.sex": _positions(cases, "sex_at_birth", tuple(SEXES)),
        "input.fitzpatrick": _positions(cases, "fitzpatrick_skin_type", SKIN_TYPES) + 1,
        "input.duration": _positions(cases, "condition_duration", tuple(DURATIONS)),
    }
    for question in QUESTIONS.values():
        names = [f"input.{question.prefix}{ending}" for ending in question.items]
        inputs |= dict(zip(names, read_boxes(cases, question).T, strict=True))
    return inputs


def inputs_option(given: Any) -> InputSpace | None:
    """Return what the option `inputs` asks for, in its order, with each question it names taken apart into its boxes.

    Age, sex, skin type and duration are categories here, by the words of `WORDS`; boxes are 0 and 1.

    Raises:
        UnknownNameError: If it names what nobody was asked; offers the nearest.
        ConfigError: If it is no list, names none, or one twice.
    """
    boxes = {
        question.prefix.rstrip("_"): [question.prefix + ending for ending in question.items] for question in QUESTIONS.values()
    }
    asked = chosen(given, "inputs", [*WORDS, *boxes, *(name for names in boxes.values() for name in names)])
    if asked is None:
        return None
    names = [name for one in asked for name in boxes.get(one, [one])]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"data.inputs=[{', '.join(asked)}] names {twice!r} twice, alone and with its question; leave one out")
    return InputSpace(tuple(names), {name: WORDS[name] for name in names if name in WORDS})


def chosen_inputs(columns: Mapping[str, NDArray[np.float32]], space: InputSpace) -> dict[str, NDArray[np.float32]]:
    """Return those columns of `make_inputs` that are asked for, a category as the place of its word."""
    found = {f"input.{name}": columns[f"input.{name}"] for name in space.names}
    if "fitzpatrick" in space.names:
        found["input.fitzpatrick"] = found["input.fitzpatrick"] - np.float32(1)
    return found


def make_subgroups(cases: TextTable, labels: TextTable) -> dict[str, NDArray[np.object_]]:
    """Return the columns of `SUBGROUPS`, each (N,) text or None.

    `fitzpatrick`: FST1 to FST6, the median over the dermatologists who could grade it; a median of 2.5 counts as 3 (halves
    go to the darker type). `monk_us`, `monk_india`: Monk skin tone 1 to 10 by lay graders of either country. `age_group`,
    `sex` (at birth) and `race` are the contributor's own answers. `AGE_UNKNOWN`, `OTHER_OR_UNSPECIFIED` (which holds those
    who did not say) and `PREFER_NOT_TO_ANSWER` are missing.

    Raises:
        DatasetError: On a value the authors do not list; names its line.
    """
    for column in _FITZPATRICK:
        labels.refuse_others(column, ("", *SKIN_TYPES))
    for column in _FITZPATRICK_GRADABLE:
        labels.refuse_others(column, ("", "YES", "NO"))
    grades = labels.rows[list(_FITZPATRICK)].apply(lambda column: pd.to_numeric(column.str.removeprefix("FST")))
    gradable = labels.rows[list(_FITZPATRICK_GRADABLE)].isin(["YES"]).to_numpy()
    median = np.floor(grades.where(gradable).median(axis=1) + 0.5)
    race = cases["combined_race"].where(cases["combined_race"] != _UNTOLD, "")
    return {
        "fitzpatrick": _text(median.map({float(i): name for i, name in enumerate(SKIN_TYPES, start=1)})),
        **{name: _monk(labels, column) for name, column in _MONK.items()},
        "age_group": _text(cases["age_group"].map(AGES)),
        "sex": _text(cases["sex_at_birth"].map(SEXES)),
        "race": _text(race.str.lower().str.replace("_", " ").str.replace(",", ", ").where(race != "")),
    }


def make_tones(subgroups: Mapping[str, NDArray[np.object_]], name: str) -> pd.DataFrame:
    """Return the column `target` of a skin tone, a key of `TONES`: (N,) codes, NaN where nobody could grade it."""
    column, grades = TONES[name]
    return pd.DataFrame({"target": pd.Series(subgroups[column]).map(grades.index, na_action="ignore").astype(np.float64)})


def missing_notes(table: pd.DataFrame) -> tuple[str, str]:
    """Count what is missing in a table of cases: of each subgroup, and of each question with boxes."""
    without = ", ".join(f"{name} {int(table[name].isna().sum())}" for name in SUBGROUPS)
    unanswered = ", ".join(
        f"{group} {int(table[f'concept.{next(iter(question.items.values()))}'].isna().sum())}"
        for group, question in QUESTIONS.items()
    )
    return (
        f"of {len(table)} cases these have no {without} (sex OTHER_OR_UNSPECIFIED, AGE_UNKNOWN and PREFER_NOT_TO_ANSWER count as "
        "missing)",
        f"of {len(table)} cases these ticked no box, which leaves the question's concepts and inputs missing: {unanswered}",
    )


def _positions(cases: TextTable, column: str, levels: tuple[str, ...]) -> NDArray[np.float32]:
    cases.refuse_others(column, (*levels, _SENTINELS[column], ""))
    return cases[column].map({level: float(i) for i, level in enumerate(levels)}).to_numpy(dtype=np.float32, na_value=np.nan)


def _monk(labels: TextTable, column: str) -> NDArray[np.object_]:
    told = labels[column] != ""
    tones = pd.to_numeric(labels[column].where(told), errors="coerce")
    labels.refuse(told & ~tones.isin(range(1, 11)), column, "not 1 to 10")
    return _text(tones.map({float(i): str(i) for i in range(1, 11)}))


def _text(column: pd.Series) -> NDArray[np.object_]:
    return column.astype(object).where(column.notna(), None).to_numpy(dtype=object)
