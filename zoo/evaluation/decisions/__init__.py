"""What a model decides at a threshold, and what that is worth."""
