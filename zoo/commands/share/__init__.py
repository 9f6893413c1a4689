"""The verbs of what is shared: a run's card, and bundles from elsewhere."""
