"""Published medical weights by name: their cards, how their tensors are called, where their files come from."""
