"""A table in a Parquet file, with what it is of beside it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medzoo.store.storage import write_file


def write_parquet(path: Path, columns: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write columns of one length, and `about` (JSON values) under the key `medzoo` of the schema's metadata, all or nothing."""
    table = pa.Table.from_pandas(pd.DataFrame(dict(columns)), preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"medzoo": json.dumps(about).encode("utf-8")})
    content = io.BytesIO()
    pq.write_table(table, content)
    write_file(path, content.getvalue())
