"""A dataset written as shards."""
