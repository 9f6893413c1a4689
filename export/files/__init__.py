"""ONNX files as bytes: reading, sealing with a checksum, weights beside them."""
