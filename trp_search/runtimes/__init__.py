"""Runtimes that serve a network, with timings: PyTorch itself, its compiler, ONNX Runtime."""
