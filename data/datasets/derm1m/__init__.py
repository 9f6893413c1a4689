"""The derm1m dataset."""
