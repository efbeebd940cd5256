"""The catalogue of networks, and the way from a published file to a checked ONNX."""
