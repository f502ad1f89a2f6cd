"""A run's network as files that other programs read: weights, torch.export and ONNX."""
