"""Reading tables of any common format as text, so that identifiers keep their zeros and every cell can be quoted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import UnknownColumnError
from medzoo.data.errors import DatasetError

FORMATS = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson")
YES = ("1", "1.0", "true", "yes", "y", "positive", "present")
NO = ("0", "0.0", "false", "no", "n", "negative", "absent")
_DECIMAL = re.compile(r"([+-]?\d+\.\d*?)0*")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table as text.

    A byte-order mark, CRLF line ends, a trailing comma and blank lines at the end are simply read.

    Args:
        path: A file of one of `FORMATS`.

    Returns:
        Text columns, empty where a cell is empty; row i is line i + 2 of a CSV.

    Raises:
        DatasetError: If the file is missing, damaged, empty or of another kind, repeats a column, or has a row that is too
            long; names the line.
    """
    if path.suffix.lower() not in FORMATS:
        raise DatasetError(f"{path}: not a table of a known kind ({', '.join(FORMATS)})")
    if not path.is_file():
        raise DatasetError(f"no table at {path}; set data.file")
    try:
        if path.suffix.lower() == ".parquet":
            rows = pd.read_parquet(path)
        elif path.suffix.lower() in (".jsonl", ".ndjson"):
            rows = _read_jsonl(path)
        else:
            rows = _read_csv(path, "\t" if path.suffix.lower() == ".tsv" else ",")
    except (OSError, EOFError, UnicodeDecodeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{path.name}: cannot be read ({reason})") from None
    if not len(rows):
        raise DatasetError(f"{path.name}: holds no rows")
    return pd.DataFrame({str(c): _as_text(rows[c]) for c in rows.columns})


def require(rows: pd.DataFrame, columns: Sequence[str], file: str) -> None:
    """Check that columns are there.

    Raises:
        UnknownColumnError: Names the first that is not, and the nearest that is.
    """
    for column in columns:
        if column not in rows.columns:
            raise UnknownColumnError(file, column, [str(c) for c in rows.columns])


def plain_number(word: str) -> str:
    """Return a number without zeros at the end of its fraction (`-1.0` is `-1`, `0.50` is `0.5`); any other word as it is.

    pandas writes a column of whole numbers as `0.0`, `1.0` as soon as one cell is missing.
    """
    decimal = _DECIMAL.fullmatch(word)
    return word if decimal is None else decimal[1].removesuffix(".")


def is_missing(column: pd.Series, empty_words: Sequence[str]) -> pd.Series:
    """Return which cells are empty or hold a word that means missing; case does not count, nor whether -1 is written -1.0."""
    empty = {"", *(plain_number(word.strip().lower()) for word in empty_words)}
    return column.str.strip().str.lower().map(plain_number).isin(list(empty))


def read_yes_no(column: pd.Series, file: str, empty_words: Sequence[str] = ()) -> NDArray[np.float32]:
    """Return 1, 0 or NaN (empty) for each cell.

    Raises:
        DatasetError: On any other word; names its line.
    """
    words = column.str.strip().str.lower()
    missing = is_missing(column, empty_words)
    values = np.where(words.isin(list(YES)), 1.0, np.where(words.isin(list(NO)), 0.0, np.nan))
    bad = np.isnan(values) & ~missing.to_numpy()
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise DatasetError(
            f"{file} line {place + 2}: {column.name!r} is {column.iloc[place]!r}, neither 0, 1 nor empty ({int(bad.sum())} such "
            "lines); name words that mean missing in data.empty_words"
        )
    return np.where(missing, np.nan, values).astype(np.float32)


def _read_csv(path: Path, separator: str) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
    header = pd.read_csv(path, sep=separator, encoding="utf-8-sig", header=None, nrows=1, dtype=str, keep_default_na=False)
    names = [str(name).strip() for name in header.iloc[0]] if first.strip() else []
    repeated = sorted({n for n in names if n and names.count(n) > 1})
    if repeated:
        raise DatasetError(f"{path.name}: column {repeated[0]!r} is given twice")
    # A few spare columns take what stands beyond the header, so that such a row can be named.
    wide = [*names, *(f"\x00{i}" for i in range(4))]
    rows = pd.read_csv(
        path, sep=separator, encoding="utf-8-sig", header=None, skiprows=1, names=range(len(wide)), dtype=str,
        keep_default_na=False, skip_blank_lines=False,
    )  # fmt: skip
    rows = rows.fillna("")
    while len(rows) and (rows.iloc[-1] == "").all():
        rows = rows.iloc[:-1]
    unnamed = [place for place, name in enumerate(wide) if not name or name.startswith("\x00")]
    beyond = (rows[unnamed] != "").any(axis=1).to_numpy()
    if beyond.any():
        raise DatasetError(
            f"{path.name} line {int(np.flatnonzero(beyond)[0]) + 2}: has more cells than the header has columns ({len(names)}); "
            "is a comma not quoted?"
        )
    blank = (rows == "").all(axis=1).to_numpy()
    if blank.any():
        raise DatasetError(f"{path.name} line {int(np.flatnonzero(blank)[0]) + 2}: is blank; remove it")
    kept = [place for place, name in enumerate(wide) if place not in unnamed]
    return rows[kept].rename(columns={place: wide[place] for place in kept})


def _read_jsonl(path: Path) -> pd.DataFrame:
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{path.name} line {number}: is not JSON ({error})") from None
        if not isinstance(record, dict):
            raise DatasetError(f"{path.name} line {number}: is not a JSON object")
        records.append(record)
    return pd.DataFrame.from_records(records)


def _as_text(column: pd.Series) -> pd.Series:
    """Return a column as text: whole numbers without a point, missing values empty."""
    if pd.api.types.is_bool_dtype(column):
        return column.map({True: "1", False: "0"}).fillna("")
    if pd.api.types.is_float_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53)
        text = [str(int(v)) if w else ("" if np.isnan(v) else repr(float(v))) for v, w in zip(values, whole, strict=True)]
        return pd.Series(text, index=column.index, dtype=object)
    return column.astype(object).where(column.notna(), "").astype(str).str.strip()
