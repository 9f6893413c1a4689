"""Model families by name."""
