"""The medmnist dataset."""
