"""The table dataset."""
