"""What stands between a backbone's features and its outputs."""
