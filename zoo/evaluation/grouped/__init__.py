"""Answers for groups of rows (the frames of a video, the eyes of a patient) from a predictions file alone."""
