"""What each of several modalities brings to an answer: left out, alone, shuffled."""
