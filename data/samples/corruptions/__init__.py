"""What may be wrong with an image, in five severities; docs/robustness.md. The names below are the room's face."""

from __future__ import annotations

from medzoo.data.samples.corruptions.apply import corrupt
from medzoo.data.samples.corruptions.choose import choose_corruptions
from medzoo.data.samples.corruptions.reader import corrupted

__all__ = ["choose_corruptions", "corrupt", "corrupted"]
