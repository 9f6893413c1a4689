"""Samples of several images, and of values beside them, any of which may be missing."""
