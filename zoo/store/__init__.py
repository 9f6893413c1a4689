"""What is on disk: specs, checkpoints, run directories, files written whole or not at all."""
