"""Shards: tar files of samples."""
