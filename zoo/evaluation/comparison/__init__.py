"""Two or more models on the same samples: differences with intervals, tests, margins."""
