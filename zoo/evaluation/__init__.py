"""Evaluation from predictions alone."""
