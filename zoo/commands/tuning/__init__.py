"""What `medzoo tune` is made of: what is searched, the journal of trials, their trainings, outer folds, the page."""
