"""From a deployable module to a proven ONNX graph."""
