"""What a request to `/predict` asks for, beside what it sends: its options, checked for their form but not against a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from starlette.requests import Request

from medzoo.data.strict_json import strict_json
from medzoo.data.text.prompts import DEFAULT_TEMPLATES
from medzoo.export.service.limits import Limits, RefusedError
from medzoo.export.service.sent import read_sent

MOST_CLASSES, LONGEST_TEXT, MOST_PROMPTS = 100, 200, 512


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        given: Name → files, or a text, or what JSON holds: what is to be answered. The kind of the model makes samples of it.
        model: Name of the model; None: the only one.
        concepts: Concept → the value it is corrected to, in all images.
        region: What concepts lose of all images, or all that they keep; `medzoo.data.regions.evidence.GivenRegion`.
        classes: Names, for a file with open classes.
        templates: Texts with one {} for the class's name.
        map: Whether the answer shall have the map.
        preview: Whether it shall have a small picture of what the model got.
    """

    given: Mapping[str, Any]
    model: str | None = None
    concepts: Mapping[str, float] | None = None
    region: Mapping[str, Any] | None = None
    classes: tuple[str, ...] | None = None
    templates: tuple[str, ...] = field(default=tuple(DEFAULT_TEMPLATES))
    map: bool = False
    preview: bool = False


OPTIONS = tuple(part.name for part in fields(Asked) if part.name != "given")


async def read_asked(request: Request, limits: Limits) -> Asked:
    """Read a request's body and options.

    Args:
        request: Its body was not read yet.
        limits: Of the service.

    Raises:
        RefusedError: One line: what is wrong with it.
    """
    sent = await read_sent(request, limits, OPTIONS)
    told = {key: _worded(key, value) if key in sent.worded else value for key, value in sent.options.items()}
    asked = Asked(sent.given, **{key: _checked(key, value) for key, value in told.items()})
    if "templates" in told and asked.classes is None:
        raise RefusedError(422, "option templates is for classes; give both, or leave it out")
    prompts = len(asked.classes or ()) * len(asked.templates)
    if prompts > MOST_PROMPTS:
        raise RefusedError(422, f"{prompts} texts of classes and templates are more than {MOST_PROMPTS}; leave some out")
    return asked


def _worded(key: str, text: str) -> Any:
    """Return an option's value from text: JSON, but for the model's name."""
    if key == "model":
        return text
    try:
        return strict_json(text)
    except ValueError as error:
        raise RefusedError(422, f"option {key} is no JSON, such as {_EXAMPLES[key]} ({str(error)[:150]})") from None


_EXAMPLES = {
    "model": '"model"', "concepts": '{"lesion": 1}',
    "region": '{"remove": [x, y, width, height], "only": ["lesion"]}', "classes": '["cyst", "tumour"]',
    "templates": '["a photo of {}"]', "map": "true", "preview": "true",
}  # fmt: skip


def _checked(key: str, value: Any) -> Any:
    if key == "model":
        right = isinstance(value, str)
    elif key == "concepts":
        right = isinstance(value, dict) and all(
            len(name) <= LONGEST_TEXT and _is_number(number) for name, number in value.items()
        )  # fmt: skip
    elif key == "region":
        right = _is_region(value)
    elif key == "classes":
        right = _is_texts(value, 2) and len(set(value)) == len(value)
    elif key == "templates":
        right = _is_texts(value, 1) and all(text.count("{}") == 1 for text in value)
    else:
        right = isinstance(value, bool)
    if not right:
        raise RefusedError(422, f"option {key} is not such as {_EXAMPLES[key]}")
    return tuple(value) if isinstance(value, list) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_region(value: Any) -> bool:
    """Whether a value may be a region, of a box or a mask: a file of the service's own is none."""
    if not isinstance(value, dict) or not {*value} <= {"remove", "within", "only"}:
        return False
    return all(isinstance(one, list) for one in value.values()) and all(
        isinstance(name, str) and len(name) <= LONGEST_TEXT for name in value.get("only", ())
    )


def _is_texts(value: Any, least: int) -> bool:
    if not isinstance(value, list) or not least <= len(value) <= MOST_CLASSES:
        return False
    return all(
        isinstance(text, str) and len(text.strip()) > 0 and len(text) <= LONGEST_TEXT and _is_whole(text) for text in value
    )


def _is_whole(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON can say and no tokenizer reads."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
