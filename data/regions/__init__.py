"""Where something was marked in an image: regions of a dataset, masks, and what a person takes from a model or leaves it."""
