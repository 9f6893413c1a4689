"""Scripts that measure. A package, since distributions exist that install a `benchmarks` of theirs beside everything."""
