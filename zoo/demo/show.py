"""`medzoo demo`: a shipped model on shipped images, with the figures it was proven with; needs no torch and no network."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from medzoo.data.errors import ConfigError, ProviderError
from medzoo.data.images.listing import is_users
from medzoo.demo.picture import Tile, draw
from medzoo.demo.shipped import MODEL, Shipped, read_shipped
from medzoo.evaluation.bootstrap import value_text
from medzoo.export.commands.proof import format_proof
from medzoo.export.runtime.model import OnnxModel

PICTURE, IMAGES = "demo.png", "images"
"""What is written, beside the model under its own name."""
SHOWN = ("auroc", "accuracy", "ece")
"""Metrics that are printed; the file has all."""
AS_BEFORE = 1e-3
"""Most that a probability may differ from the one where the files were made: other processors round otherwise."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0, raises MedzooError on a mistake of the user's or where this machine computes otherwise."""
    parser = argparse.ArgumentParser(
        prog="medzoo demo", description="A shipped model on four shipped images: no torch, no network, no data of your own."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("medzoo-demo"), help="where to write (medzoo-demo)")
    folder: Path = parser.parse_args(list(arguments)).folder
    shipped = read_shipped()
    _require_own(folder)
    model = OnnxModel(shipped.model)
    print("\n".join(_about(model, shipped)))
    tiles = _predict(model, shipped)
    print()
    width = max(len(answer.sample) for answer in shipped.answers)
    for answer, tile in zip(shipped.answers, tiles, strict=True):
        print(f"{answer.sample:<{width}}  {tile.said} {tile.probability:.3f}  (truth: {tile.truth})")
    print("\n".join(["", *_measured(shipped.metrics), *format_proof(shipped.proof)]))
    _write(folder, shipped, draw(tiles, f"medzoo demo: {model.spec['architecture']} on drawn images; no clinical meaning"))
    print("\n".join(["", f"wrote {folder / PICTURE}, and the model and its images beside it", "", *_next(folder)]))
    return 0


def _about(model: OnnxModel, shipped: Shipped) -> list[str]:
    data = model.spec["data"]
    return [
        f"model: {model.spec['architecture']}, one ONNX file of {shipped.model.stat().st_size / 1e6:.1f} MB, SHA-256 checked",
        f"trained on: {data['name']}, drawn by a program: no patient, no clinical meaning",
    ]


def _predict(model: OnnxModel, shipped: Shipped) -> list[Tile]:
    """Return the images with what the model says here; ProviderError if that is not what it said where it was made."""
    assert model.labels is not None
    rows = model.predict(shipped.images)["probabilities"]
    tiles = []
    for answer, path, row in zip(shipped.answers, shipped.images, rows, strict=True):
        said, probability = model.labels.names[int(row.argmax())], float(row.max())
        if said != answer.said or abs(probability - answer.probability) > AS_BEFORE:
            raise ProviderError(
                f"this machine answers {said} {probability:.3f} for {answer.file}, where the file was made it was {answer.said} "
                f"{answer.probability:.3f}: its ONNX Runtime computes wrongly; medzoo doctor says more"
            )
        with Image.open(path) as image:
            image.load()
            tiles.append(Tile(image, said, probability, answer.truth))
    return tiles


def _measured(metrics: Mapping[str, Any]) -> list[str]:
    """Return the test split's figures as lines."""
    test, interval = metrics["splits"]["test"], metrics["interval"]
    seen = f"{test['samples']} test images of {test['groups']} {interval['unit']}s that training has not seen"
    lines = [f"on {seen}, {interval['level']:.0%} intervals:"]
    for name in SHOWN:
        found = test["metrics"][name]
        lines.append(f"  {name:<9} {value_text(found['value'], found['low'], found['high'])}")
    return lines


def _require_own(folder: Path) -> None:
    """Raise ConfigError if anything but an earlier demo lies there."""
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; name a folder: medzoo demo FOLDER")
    names = {path.name for path in folder.iterdir() if is_users(path.name)} if folder.is_dir() else set()
    other = sorted(names - {PICTURE, IMAGES, MODEL})
    if other:
        raise ConfigError(f"{folder} holds other files ({', '.join(other[:3])}); name a folder of its own: medzoo demo FOLDER")


def _write(folder: Path, shipped: Shipped, picture: Image.Image) -> None:
    try:
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        for path in shipped.images:
            (folder / IMAGES / path.name).write_bytes(path.read_bytes())
        (folder / MODEL).write_bytes(shipped.model.read_bytes())
        picture.save(folder / PICTURE)
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror or error}; name another folder: medzoo demo FOLDER"
        ) from error


def _next(folder: Path) -> list[str]:
    here = shlex.quote(str(folder))
    commands = {
        f"medzoo predict {here}/{MODEL} {here}/{IMAGES} --json": "every probability; give your own images",
        f"medzoo serve {here}/{MODEL}": "a page to try it on; pip install 'medzoo[cpu,serve]'",
        "medzoo doctor": "which accelerators truly work here",
        "pip install 'medzoo[train,cpu]'": "torch and what training needs: several GB",
        "medzoo train experiment=demo run=runs/demo": "this model, made again",
        "medzoo export run=runs/demo": "as an ONNX file, proven as this one",
    }
    width = max(map(len, commands))
    return ["go on:", *(f"  {command:<{width}}  # {why}" for command, why in commands.items())]
