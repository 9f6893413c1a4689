"""What each page of a TIFF says of its pixels, and which library reads them rightly. Needs no library itself.

Sources: TIFF 6.0; BigTIFF design (AWare Systems). Which library reads a file is decided by its header alone, never by what is
installed, so that a file has the same pixels wherever it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medzoo.data.errors import ImageError

TAGS = {
    254: "subfile", 256: "width", 257: "height", 258: "bits", 259: "compression", 262: "photometric", 266: "fill_order",
    273: "offsets", 274: "orientation", 277: "samples", 278: "rows", 279: "counts", 284: "planar", 317: "predictor",
    322: "tile_width", 323: "tile_height", 324: "offsets", 325: "counts", 338: "extra", 339: "sample_format",
    530: "subsampling", 32997: "depth",
}  # fmt: skip
_SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
MAX_PAGES = 10_000
"""Pages that are counted; a chain of more is a loop or a film."""
PALETTE, RGB, CMYK, YCBCR, LAB = 3, 2, 5, 6, 8
_MEANT = (0, 1, RGB, PALETTE, CMYK, YCBCR, LAB)
_EXTRA = {
    1: ((0,), (1,), (2,)), PALETTE: ((), (0,), (2,)), CMYK: ((), (0,), (0, 0)), YCBCR: ((),), LAB: ((),),
    RGB: ((), (0,), (1,), (2,), (0, 0), (1, 0), (2, 0), (0, 0, 0), (1, 0, 0), (2, 0, 0)),
}  # fmt: skip
"""Extra samples that Pillow knows, of each photometric interpretation."""
_BY_PILLOW = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
"""Compressions that Pillow's wheels read: of fax, LZW, JPEG, deflate, PackBits, LZMA, Zstandard."""
_PLAIN = (1, 5, 8, 32946, 32773)
"""Compressions without loss that every Pillow reads: none, LZW, deflate (two numbers), PackBits."""


@dataclass(frozen=True)
class TiffHeader:
    """A page's description. Numbers are TIFF's own codes; defaults are the standard's.

    Attributes:
        height: Rows.
        width: Columns.
        bits: Bits of each sample.
        sample_format: 1 whole numbers, 2 signed ones, 3 floats, of each sample.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab; others are not read.
        samples: Samples a pixel, extra ones included.
        extra: Meaning of each extra sample: 0 unknown, 1 alpha that colours are multiplied by, 2 alpha.
        planar: 1 samples side by side, 2 in planes.
        compression: 1 none.
        orientation: 1 upright, else as in EXIF.
        fill_order: 2 bits from the lowest.
        subsampling: Of YCbCr.
        predictor: 1 none.
        place: The page's place in the file, smaller copies and masks counted.
        little: Byte order.
        big: Whether it is a BigTIFF.
        segments: (offset, bytes) of each strip or tile.
    """

    height: int
    width: int
    bits: tuple[int, ...]
    sample_format: tuple[int, ...]
    photometric: int
    samples: int
    extra: tuple[int, ...]
    planar: int
    compression: int
    orientation: int
    fill_order: int
    subsampling: tuple[int, ...]
    predictor: int
    place: int
    little: bool
    big: bool
    segments: tuple[tuple[int, int], ...]

    @property
    def depth(self) -> int:
        """Bits of the first sample."""
        return self.bits[0]

    @property
    def kind(self) -> int:
        """Sample format of the first sample."""
        return self.sample_format[0]

    @property
    def by_pillow(self) -> bool:
        """Whether Pillow reads such a file, and rightly (held against tifffile in the tests)."""
        same = len(set(self.bits)) == 1 and len(set(self.sample_format)) == 1 and self.kind in (1, 2, 3)
        if not same or (self.big and not self.little) or self.compression not in _BY_PILLOW:
            return False
        if self.planar != 1 and (self.depth != 8 or self.photometric != RGB):
            return False
        if self.photometric in (0, 1) and self.samples == 1:
            if self.kind == 1 and self.depth in (1, 2, 4, 8):
                return True
            if self.fill_order != 1 or self.compression not in _PLAIN:
                return False
            if self.kind == 1 and self.depth == 12:
                return self.little and self.photometric == 1 and self.compression == 1
            if self.kind == 1 and self.depth == 16:
                return self.little or self.photometric == 1
            return (self.kind, self.depth) == (3, 32) and self.photometric == 1 and self.predictor == 1
        if self.kind != 1 or self.extra not in _EXTRA.get(self.photometric, ()):
            return False
        if self.photometric == PALETTE:
            return self.depth <= 8
        if self.photometric == YCBCR:  # Pillow takes uncompressed ones as not subsampled
            return self.depth == 8 and (self.compression == 7 or self.subsampling == (1, 1))
        return self.depth == 8 or (self.photometric == RGB and self.depth == 16 and self.fill_order == 1 and self.samples <= 4)


@dataclass(frozen=True)
class TiffPages:
    """The pages of a TIFF that are images of their own: no smaller copies or masks of others. A file of one page has its first.

    Attributes:
        pages: Of each its place among all pages, the byte where it is described, its height and width.
        end: What is wrong with the end of the chain of pages; empty if nothing is.
        little: Byte order.
        big: Whether it is a BigTIFF.
    """

    pages: tuple[tuple[int, int, int, int], ...]
    end: str
    little: bool
    big: bool

    def header(self, data: bytes, page: int, name: str) -> TiffHeader:
        """Return what a page says.

        Args:
            data: The file's bytes.
            page: From 0.
            name: What to call the file in a message.

        Raises:
            ImageError: If the header is damaged, or pixels it names lie outside the file: cut short.
        """
        place, start, _, _ = self.pages[page]
        try:
            found, _ = _page(data, start, "<" if self.little else ">", self.big)
            one = {key: values[0] for key, values in found.items() if values}
            samples = one.get("samples", 1)
            bits = found.get("bits") or (1,)
            bits = bits * min(samples, 65) if len(bits) == 1 else bits  # more than 64 are refused below
            formats = found.get("sample_format") or (1,)
            counts = found.get("counts") or [max(0, len(data) - offset) for offset in found["offsets"]]  # old files say none
            header = TiffHeader(
                height=one["height"], width=one["width"], bits=bits, sample_format=formats, photometric=one["photometric"],
                samples=samples, extra=found.get("extra", ()), planar=one.get("planar", 1),
                compression=one.get("compression", 1), orientation=one.get("orientation", 1),
                fill_order=one.get("fill_order", 1), subsampling=found.get("subsampling", (2, 2)),
                predictor=one.get("predictor", 1), place=place, little=self.little, big=self.big,
                segments=tuple(zip(found["offsets"], counts, strict=False)),
            )  # fmt: skip
        except KeyError as error:
            raise ImageError(f"{name}: a damaged TIFF: its page does not say its {error.args[0]}") from None
        _check(header, one, len(data), name)
        return header


def read_pages(data: Any, name: str) -> TiffPages:
    """Return the pages of a TIFF.

    Args:
        data: The file's bytes, or a map of them.
        name: What to call it in a message.

    Raises:
        ImageError: If the header is damaged.
    """
    try:
        return _pages(data)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise ImageError(f"{name}: a damaged TIFF ({error})") from None


def _check(header: TiffHeader, one: dict[str, int], size: int, name: str) -> None:
    """Refuse a page whose numbers are impossible, or whose pixels lie outside the file."""
    samples, bits = header.samples, header.bits
    if (
        not bits
        or not header.sample_format
        or header.height < 1
        or header.width < 1
        or not 1 <= samples <= 64
        or not all(1 <= depth <= 64 for depth in bits)
    ):
        raise ImageError(f"{name}: a damaged TIFF: {header.width} x {header.height} pixels of {samples} samples")
    if one.get("depth", 1) > 1:
        raise ImageError(f"{name}: a TIFF of {one['depth']} planes; save one of them as a file of its own")
    if header.photometric not in _MEANT:
        return
    rows, across = one.get("tile_height") or one.get("rows") or header.height, one.get("tile_width") or header.width
    parts = -(-header.height // rows) * -(-header.width // across) * (samples if header.planar == 2 else 1)
    needed = header.height * header.width * sum(bits) // 8 if header.compression == 1 and header.photometric != YCBCR else 0
    if parts > len(header.segments) or needed > sum(count for _, count in header.segments):
        raise ImageError(f"{name}: a TIFF cut short: it holds fewer pixels than its header says")
    if any(offset >= size for offset, _ in header.segments):
        raise ImageError(f"{name}: a TIFF cut short: pixels that its header names lie behind its end")


def _pages(data: Any) -> TiffPages:
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version not in (42, 43):
        raise ValueError(f"version {version}")
    big = version == 43
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    every: list[tuple[int, int, int, int]] = []
    own: list[tuple[int, int, int, int]] = []
    seen, end = set[int](), ""
    while place:
        if place in seen or len(seen) == MAX_PAGES:
            end = "a loop" if place in seen else f"more than {MAX_PAGES:,} pages"
            break
        try:
            tags, following = _page(data, place, order, big)
        except struct.error:
            if not seen:
                raise
            end = "one outside the file"  # the pages before are whole
            break
        if not tags.get("width") or not tags.get("height"):
            raise ValueError(f"page {len(seen) + 1} has no size")
        every.append((len(seen), place, tags["height"][0], tags["width"][0]))
        if not any(flag & 5 for flag in tags.get("subfile", ())):  # 1 a smaller copy, 4 a mask
            own.append(every[-1])
        seen.add(place)
        place = following
    if not every:
        raise ValueError("no page")
    return TiffPages(tuple(own if len(own) > 1 else every[:1]), end, order == "<", big)


def _page(data: Any, place: int, order: str, big: bool) -> tuple[dict[str, tuple[int, ...]], int]:
    counts, entry, inside = ("Q", 20, 8) if big else ("H", 12, 4)
    (number,) = struct.unpack_from(order + counts, data, place)
    place += struct.calcsize(counts)
    if number * entry > len(data):
        raise struct.error("more tags than bytes")
    tags = dict(_entries(data, place, number, order, big, entry, inside))
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, place + number * entry)
    return tags, int(following)


def _entries(
    data: Any, place: int, number: int, order: str, big: bool, entry: int, inside: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    met = set[int]()
    for start in range(place, place + number * entry, entry):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        if tag not in TAGS or kind not in _SIZES or tag in met:  # of a tag that stands twice the first counts
            continue
        met.add(tag)
        (count,) = struct.unpack_from(order + ("Q" if big else "I"), data, start + 4)
        each = struct.calcsize(_SIZES[kind])
        if count * each > len(data):
            raise struct.error(f"tag {tag} has {count} values")
        at = start + (12 if big else 8)
        if count * each > inside:
            (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
        yield TAGS[tag], struct.unpack_from(f"{order}{count}{_SIZES[kind]}", data, at)
