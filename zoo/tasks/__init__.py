"""Tasks: model and objective of one family."""
