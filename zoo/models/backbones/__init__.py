"""Networks from images to pooled features, and the contract they meet."""
