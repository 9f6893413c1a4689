"""From a configuration and a dataset to a task, a family a file."""
