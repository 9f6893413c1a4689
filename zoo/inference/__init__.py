"""A trained model on a dataset: predictions, embeddings, zero-shot, interventions, explanations."""
