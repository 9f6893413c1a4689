"""`medzoo bench`: torch and ONNX Runtime timed side by side on one model and the same images."""
