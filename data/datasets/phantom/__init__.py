"""The phantom dataset."""
