"""How wrong an error is: every level of a tree over the labels, and the way between what is true and what is said."""
