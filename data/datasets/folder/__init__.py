"""The folder dataset."""
