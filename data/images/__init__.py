"""Bytes to pixels: torch-free, used in training and by the runtime."""
