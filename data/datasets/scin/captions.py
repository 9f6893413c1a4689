"""Captions for SCIN: one plain English sentence a case, made of what the contributor answered."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.data.datasets.scin.answers import DURATIONS, QUESTIONS, read_boxes
from medzoo.data.datasets.scin.labels import Differentials
from medzoo.data.tables import TextTable
from medzoo.data.text.wording import listed

Caption = Literal["none", "metadata", "diagnosis"]
_SPOKEN = {"other body part": "another part of the body"}  # the others take an article


def make_captions(cases: TextTable, noun: str, differentials: Differentials | None = None) -> NDArray[np.object_]:
    """Return one sentence a case.

    The sentence holds body parts, textures, symptoms, other symptoms and duration, in that order, each only where it was
    answered: "A photograph of a skin condition on the arm and the leg, which feels flat, with itching and pain, present for
    one day." Age, sex, race and skin type are left out, and so is `related_category`, which can name the diagnosis (ACNE).

    Args:
        cases: The N rows of `scin_cases.csv`.
        noun: What the sentence begins with, such as `A photograph`.
        differentials: Of the same cases, to name the diagnosis as well: the condition of the largest weight, or all that tie.

    Returns:
        (N,) text, or None for a case of which there is nothing to say.
    """
    ticked = {group: read_boxes(cases, question) == 1 for group, question in QUESTIONS.items()}
    names = {group: np.array(list(question.items.values()), dtype=object) for group, question in QUESTIONS.items()}
    durations = cases["condition_duration"].map(DURATIONS).to_numpy(dtype=object)
    captions = np.full(len(cases), None, dtype=object)
    for row, duration in enumerate(durations):
        said = {group: list(names[group][ticked[group][row]]) for group in QUESTIONS}
        words = []
        if differentials is not None and differentials.labelled[row]:
            words.append(f" diagnosed as {' or '.join(differentials.leading_names(row))}")
        if said["body part"]:
            words.append(f" on {listed([_SPOKEN.get(part, f'the {part}') for part in said['body part']])}")
        if said["texture"]:
            words.append(f", which feels {listed(said['texture'])}")
        if symptoms := said["symptom"] + said["other symptom"]:
            words.append(f", with {listed(symptoms)}")
        if isinstance(duration, str):
            words.append(f", present {duration if duration.startswith('since') else f'for {duration}'}")
        if words:
            captions[row] = f"{noun} of a skin condition{''.join(words)}."
    return captions
