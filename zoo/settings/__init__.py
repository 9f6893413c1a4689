"""What was asked for: the typed form of conf/, composed and checked."""
