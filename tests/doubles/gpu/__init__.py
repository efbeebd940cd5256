"""A strict stand-in for an NVIDIA GPU: TensorRT of several versions over ONNX Runtime, pycuda over host memory, kernels compiled by g++.

It has the names that the published bindings have (tests/contracts) and does what their documentation says. What it does not model, and
every misuse that real hardware would answer with a crash, a leak or a wrong result, raises.
"""
