"""Verbs that make one run of several."""
