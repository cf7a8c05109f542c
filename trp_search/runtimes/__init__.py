"""What serves a network, with timings: PyTorch itself, its compiler, ONNX Runtime, OpenVINO."""
