"""Images side by side, each with what a model says of it and what is true; Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

TILE, GAP, BAR, LINE = 256, 16, 12, 24
"""Pixels: a side of an image, between images, height of a probability's bar, of a line of text."""
PAPER, INK, PALE = (255, 255, 255), (33, 37, 41), (222, 226, 230)
RIGHT, WRONG = (0, 114, 178), (213, 94, 0)
"""Blue and orange of the Okabe–Ito palette: told apart by colour-blind readers too."""


@dataclass(frozen=True)
class Tile:
    """One image of the picture.

    Attributes:
        image: The pixels.
        said: Name of the class that the model gives.
        probability: Of that class.
        truth: Name of the true class.
    """

    image: Image.Image
    said: str
    probability: float
    truth: str


def draw(tiles: Sequence[Tile], title: str) -> Image.Image:
    """Return the picture: a title, and below it the tiles from left to right.

    Args:
        tiles: At least one.
        title: One line.
    """
    width = GAP + len(tiles) * (TILE + GAP)
    picture = Image.new("RGB", (width, GAP + LINE + GAP + TILE + GAP // 2 + BAR + GAP // 2 + 2 * LINE + GAP), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((GAP, GAP), title, fill=INK, font=_font(LINE * 3 // 4))
    for place, tile in enumerate(tiles):
        left, top = GAP + place * (TILE + GAP), GAP + LINE + GAP
        # Nearest: the pixels that the model sees, not smoothed ones.
        picture.paste(tile.image.convert("RGB").resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        colour, top = RIGHT if tile.said == tile.truth else WRONG, top + TILE + GAP // 2
        pen.rectangle((left, top, left + TILE - 1, top + BAR - 1), fill=PALE)
        pen.rectangle((left, top, left + max(0, round(TILE * tile.probability) - 1), top + BAR - 1), fill=colour)
        top += BAR + GAP // 2
        pen.text((left, top), f"says {tile.said}, {tile.probability:.2f}", fill=colour, font=_font(LINE * 3 // 4))
        pen.text((left, top + LINE), f"truth {tile.truth}", fill=INK, font=_font(LINE * 3 // 4))
    return picture


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
