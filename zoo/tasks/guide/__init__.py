"""What leads a classifier's learning beside its loss: groups weighed against each other, and a teacher."""
