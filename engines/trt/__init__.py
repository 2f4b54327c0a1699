"""NVIDIA GPUs through Torch-TensorRT: plans, their cache, refit and runtime."""
