"""NVIDIA cards through Torch-TensorRT: plans, their cache, refit and runtime."""
