"""Whether probabilities mean what they say, what mends them, and sets that hold the truth as often as stated."""
