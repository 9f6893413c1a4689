"""Images prepared once: written, read in place of the files, and held against what they were made of."""
