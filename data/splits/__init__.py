"""Who may learn from whom: groups, draws, subgroups, what was learnt from before. The names below are the room's face."""

from __future__ import annotations

from medzoo.data.splits.groups import carve_val, fold_of, group_fractions, hash_split, merge_groups, shared_groups

__all__ = ["carve_val", "fold_of", "group_fractions", "hash_split", "merge_groups", "shared_groups"]
