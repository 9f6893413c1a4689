"""The olives dataset."""
