"""Words for labels: prompts, concept lists, captions, tokenizing."""
