"""What serves a network, with timings: PyTorch, its compiler, ONNX Runtime and others."""
