"""What `medzoo verify` says of a dataset, as lines and as a page."""
