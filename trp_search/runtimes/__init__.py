"""What serves a network: PyTorch itself, its compiler, ONNX Runtime; and how long each takes."""
