"""Words for labels: prompts, concept lists, captions, tokenizing; and words that a terminal may be given."""
