"""What ships: deployable graph, ONNX, proof, runtime. Imports zoo and data."""
