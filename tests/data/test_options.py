"""Options as users write them: words, lists of texts, channels."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.options import choice, gray_or_colour
from medzoo.data.registry import load_dataset

Fit = Literal["stretch", "pad"]


@pytest.mark.parametrize("known", [Fit, ("stretch", "pad"), ["stretch", "pad"], {"stretch": 1, "pad": 2}])
def test_a_word_is_one_of_the_known_ones(known: Any) -> None:
    choice("fit", "pad", known)
    for value, shown in (("padd", "'padd'; did you mean 'pad'"), (None, "'None'; known: pad, stretch"), (3, "'3'")):
        with pytest.raises(UnknownNameError, match=rf"unknown choice of data\.fit {shown}"):
            choice("fit", value, known)


def test_channels_are_gray_or_colour() -> None:
    assert [gray_or_colour(channels) for channels in (1, 3)] == [1, 3]
    for channels in (0, 2, "3", None):
        with pytest.raises(ConfigError, match=rf"data\.channels={channels} is neither 1 \(gray\) nor 3 \(RGB\)"):
            gray_or_colour(channels)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("chestxray14", ["missing"]),
        ("derm1m", ["labels", "caption", "validation", "overlap", "missing"]),
        ("folder", ["modality"]),
        ("medmnist", ["set"]),
        ("olives", ["target", "images", "source", "missing"]),
        ("phantom", ["labels"]),
        ("scin", ["labels", "rest", "views", "ungradable", "caption", "missing"]),
        ("table", ["modality", "missing"]),
    ],
)
def test_every_dataset_refuses_a_word_before_it_looks_for_files(name: str, options: list[str]) -> None:
    given = {"table": {"file": "/no/such.csv"}, "phantom": {}, "medmnist": {}}.get(name, {"root": "/no/such"})
    for option in options:
        with pytest.raises(UnknownNameError, match=rf"^unknown choice of data\.{option} 'no such word'; "):
            load_dataset(name, **given, **{option: "no such word"})  # type: ignore[arg-type]
