"""A later visit's truth as the target of an earlier one: what is known at a visit, and what is not yet."""
