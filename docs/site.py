"""What the documentation's site makes from the code: the settings of every verb, the public names, pages of the root folder."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from medzoo.cli import main

ROOT = Path(__file__).resolve().parents[1]
COMPOSED = ("train", "evaluate", "zeroshot", "verify", "prepare", "intervene", "robustness", "explain", "export", "bench")
PLAIN = ("predict", "compare", "search", "doctor")
ROOT_PAGES = {"CONTRIBUTING": "contributing", "CHANGELOG": "changes", "SECURITY": "security"}
"""Page of the root folder → its name under reference/."""
PYTHON = {
    "Loading and predicting": ("medzoo.api.load", "medzoo.api.TrainedModel", "medzoo.export.runtime.model.OnnxModel"),
    "Datasets": (
        "medzoo.data.registry.load_dataset",
        "medzoo.data.registry.list_datasets",
        "medzoo.data.dataset.Dataset",
        "medzoo.data.labels.LabelSpace",
        "medzoo.data.images.reader.Reader",
    ),
    "Images": ("medzoo.data.images.decode.decode_image", "medzoo.data.samples.preprocess.Preprocess"),
    "Networks": ("medzoo.models.registry.create_model", "medzoo.models.registry.list_models"),
    "Tasks": ("medzoo.tasks.task.Task",),
    "Metrics for other training loops": ("medzoo.metrics",),
    "Evaluation": ("medzoo.evaluation.metrics", "medzoo.evaluation.bootstrap", "medzoo.evaluation.predictions"),
    "Errors": ("medzoo.data.errors",),
}
"""Heading → what stands below it, by its full name."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, as MkDocs asks of a hook."""
    pages = {
        "index.md": _moved((ROOT / "README.md").read_text(encoding="utf-8"), ""),
        "reference/settings.md": _settings(),
        "reference/python.md": _python(),
        "reference/changes.md": _moved((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "../"),
        "reference/contributing.md": _moved((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "../"),
        "reference/security.md": _moved((ROOT / "SECURITY.md").read_text(encoding="utf-8"), "../"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to pages of the root folder lead to their place in the site."""
    for name, place in {"README": "index.md", **{name: f"reference/{made}.md" for name, made in ROOT_PAGES.items()}}.items():
        up = "../" * page.file.src_uri.count("/")
        markdown = markdown.replace(f"](../{up}{name}.md", f"]({up}{place}")
    return markdown


def _settings() -> str:
    """Return what `medzoo VERB --help` prints of each verb."""
    parts = ["# Settings", "", "As `medzoo VERB --help` prints them; `medzoo show VERB data=...` composes a configuration."]
    for verb in (*COMPOSED, *PLAIN):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):  # argparse leaves by it
            main([verb, "--help"])
        parts += ["", f"## {verb}", "", "```text", printed.getvalue().rstrip(), "```"]
    return "\n".join(parts) + "\n"


def _python() -> str:
    """Return the page that mkdocstrings fills from the docstrings."""
    parts = ["# Python", ""]
    for heading, names in PYTHON.items():
        parts += [f"# {heading}", "", *(f"::: {name}\n" for name in names)]
    return "\n".join(parts) + "\n"


def _moved(text: str, up: str) -> str:
    """Return a page of the root folder with its links as they are from its place in the site."""
    text = re.sub(r"\]\(docs/", f"]({up}", text)
    for page, place in ROOT_PAGES.items():
        text = text.replace(f"]({page}.md)", f"]({'' if up else 'reference/'}{place}.md)")
    return text
