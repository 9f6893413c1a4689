"""What `medzoo suite` is made of: a grid, its jobs, the page of their results."""
