"""What a page is made of: sections of tables, drawings, notes and cases. The template knows these and nothing of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medzoo.evaluation.attention import pointer as json_pointer
from medzoo.evaluation.bootstrap import value_text


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it says.
        source: Where the figure stands, a file and a JSON pointer in it (RFC 6901), `metrics.json#/splits/test/metrics/auroc`;
            empty: it is no figure.
        number: What the column is sorted by; None: by the text.
        flag: Why it is to be read with care; empty: it is not.
    """

    text: str
    source: str = ""
    number: float | None = None
    flag: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells, which a reader may sort.

    Attributes:
        caption: What it shows.
        header: A name for each column.
        rows: The cells.
        folded: Shown when it is opened only.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Drawing:
    """A plot.

    Attributes:
        svg: `<svg ...>...</svg>`, safe to stand in a page as it is: matplotlib wrote it.
        caption: What it shows.
        alt: What it says to who does not see it.
        made_from: The files that hold its figures.
    """

    svg: str
    caption: str
    alt: str
    made_from: str = "metrics.json"
    kind: str = "drawing"


@dataclass(frozen=True)
class Note:
    """A sentence. With `warns` it is one that a reader must not miss."""

    text: str
    warns: bool = False
    source: str = ""
    kind: str = "note"


@dataclass(frozen=True)
class Case:
    """One sample.

    Attributes:
        name: Its sample_id.
        said: What the model says, and what is true.
        image: PNG, base64; empty where the image is not at hand.
        overlay: The same with what the model looked at; empty without.
        missing: Why there is no image.
    """

    name: str
    said: str
    image: str = ""
    overlay: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Cases:
    """Samples side by side."""

    caption: str
    cases: Sequence[Case]
    kind: str = "cases"


@dataclass(frozen=True)
class Verbatim:
    """Text as it is: a command, a configuration."""

    caption: str
    text: str
    folded: bool = False
    kind: str = "verbatim"


Block = Table | Drawing | Note | Cases | Verbatim


@dataclass(frozen=True)
class Section:
    """A heading and what is below it.

    Attributes:
        key: Its anchor.
        title: Its heading.
        blocks: In their order; a section without any is left out.
    """

    key: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def pointer(*parts: object, file: str = "metrics.json") -> str:
    """Return where a figure stands: `metrics.json#/splits/test/metrics/auroc`."""
    return f"{file}#{json_pointer(*parts)}"


def measured(metric: Mapping[str, Any], source: str, *, digits: int = 3) -> Cell:
    """Return a metric with its interval as a cell; why there is none is its flag.

    Args:
        metric: `value`, `low`, `high`, as `medzoo.evaluation.bootstrap.Interval.described` makes them.
        source: Where it stands.
        digits: After the point; 3 as on the terminal.
    """
    value = metric.get("value")
    text = value_text(value, metric.get("low"), metric.get("high"))
    if digits != 3 and value is not None:
        text = f"{value:.{digits}f}"
    undefined = metric.get("undefined")
    why = [metric.get("no_mean"), metric.get("no_interval"), undefined if isinstance(undefined, str) else None]
    if isinstance(undefined, Mapping) and undefined:
        why.append("without " + ", ".join(f"{name} ({reason})" for name, reason in undefined.items()))
    return Cell(text, source, value, "; ".join(str(reason) for reason in why if reason))


def count(value: int, source: str) -> Cell:
    """Return a number of things as a cell."""
    return Cell(f"{value:,}", source, float(value))
