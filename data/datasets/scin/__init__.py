"""The scin dataset."""
