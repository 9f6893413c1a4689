"""What goes in: datasets → tables → samples → batches. Imports none of the other rooms.

Importing this module imports neither torch nor pandas; the functions below load what they need when called.
"""

from __future__ import annotations

from medzoo.data.registry import dataset_infos, list_datasets, load_dataset

__all__ = ["dataset_infos", "list_datasets", "load_dataset"]
