"""The sentences class names are put into where a user gives none: the same in torch and in the torch-free runtime."""

from __future__ import annotations

DEFAULT_TEMPLATES = ("An image of {}.", "A medical image showing {}.")
"""Each holds `{}` once."""
