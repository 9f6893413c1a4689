"""int8 and fp16: converted from a proven float32 graph, judged on validation data, written only if the gate passes."""
