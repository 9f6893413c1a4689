"""The wrappers, a room each; none knows another."""
