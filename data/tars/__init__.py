"""Tar files of samples, as WebDataset has them: read strictly, indexed by offsets, written alike every time."""
