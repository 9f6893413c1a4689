"""The chestxray14 dataset."""
