"""TIFF: what its header says, and the kinds that Pillow does not read rightly, by tifffile (extra `tiff`)."""
