"""Several modalities in one network: an encoder each, and what joins what they say; any of them may be missing."""
