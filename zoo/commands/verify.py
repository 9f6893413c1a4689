"""`medzoo verify`: a dataset's audit on the terminal, as JSON and as a page."""

from __future__ import annotations

import json
from pathlib import Path

from medzoo.data.audit.audit import as_lines, audit
from medzoo.data.audit.page import page
from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.settings.verbs import VerifyConfig
from medzoo.store.storage import write_file
from medzoo.train.display import Display


def main(config: VerifyConfig) -> int:
    """Run the command; returns 0, or 1 if something is wrong with the data. ConfigError if a setting is out of range."""
    if config.workers < 1:
        raise ConfigError(f"workers={config.workers} must be at least 1")
    limit = {"all": None, "none": 0}.get(config.images, config.images) if isinstance(config.images, str) else config.images
    if isinstance(limit, str | bool) or (limit is not None and limit < 0):
        raise ConfigError(f"images={config.images!r} is not all, none or a number")
    # An audit reports what training refuses.
    data = {**config.data, "allow_shared_groups": True}
    if data.get("missing") == "error":
        data["missing"] = "skip"
    dataset = load_dataset(**data)
    with Display().bar("images", len(dataset) if limit is None else limit) as move:
        report = audit(
            dataset, images=limit, deep=config.deep, partial=config.data.get("missing") == "skip", workers=config.workers,
            advance=lambda n: move(advance=n),
        )  # fmt: skip
    for line in as_lines(report):
        print(line)
    if config.output is not None:
        folder = Path(config.output)
        write_file(folder / "verify.json", json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8"))
        write_file(folder / "verify.html", page(dataset, report).encode("utf-8"))
        print(f"wrote {folder / 'verify.json'} and {folder / 'verify.html'}")
    return 1 if report["problems"] else 0
