"""What the neighbours of an image in feature space are: its class again, its centre again, another class's prototype."""
