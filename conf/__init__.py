"""Configuration groups for Hydra: what to run. YAML only."""
