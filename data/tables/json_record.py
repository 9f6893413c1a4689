"""One record of JSON: an object of fields, be it a line of a table or what stands beside an image in a shard."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from medzoo.data.errors import DatasetError
from medzoo.data.strict_json import strict_json


def json_fields(text: str, where: Callable[[], str]) -> dict[str, Any]:
    """Return the fields of one object of JSON.

    Args:
        text: The object.
        where: Says what to call it in a message, which goes on after it; asked only then.

    Raises:
        DatasetError: If it is not JSON, has a field twice, is no object, or holds half of a surrogate pair, which JSON can say
            and is no character (RFC 8259, section 8.2).
    """
    try:
        record = strict_json(text, nan=True)
        if "\\u" in text:
            json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DatasetError(f"{where()}: \\u{ord(error.object[error.start]):04x} is half of a character; write it whole") from None
    except ValueError as error:
        raise DatasetError(f"{where()} is not JSON ({error})") from None
    if not isinstance(record, dict):
        raise DatasetError(f"{where()} is not a JSON object")
    return record
