"""A run's report: one self-contained page whose every figure stands in metrics.json or follows from predictions.parquet."""
