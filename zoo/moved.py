"""Addresses that the README or docs/ once gave and that now lie elsewhere: importing one warns, and is the module at the new one.

Only what users were told stands here; whatever else is inside the rooms may move between releases.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

GONE_IN = "0.3"
"""The release that no longer has the old addresses."""
MOVED = {
    "medzoo.data.augment_policies": "medzoo.data.samples.policies",
    "medzoo.data.decode": "medzoo.data.images.decode",
    "medzoo.data.templates": "medzoo.data.text.prompts",
    "medzoo.export.predict": "medzoo.data.images.listing",  # docs gave its list_images alone
}
"""Old address → new one."""


class MovedFinder:
    """Finds modules at their old addresses, for the import system.

    It derives from no class of `importlib.abc`, which would make `import medzoo` load a dozen modules.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a spec for an old address; None for any other name."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None  # type: ignore[arg-type]  # needs no load_module

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make an empty module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module at the new address into the old one's place, with a warning at the line that imports it."""
        old, new = module.__name__, MOVED[module.__name__]
        text = f"{old} is now {new}; the old address goes in medzoo {GONE_IN}"
        warnings.warn(text, DeprecationWarning, stacklevel=2)  # frames of the import system do not count
        sys.modules[old] = import_module(new)


def keep_old_addresses() -> None:
    """Let the import system ask for old addresses, after all else has been asked."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
