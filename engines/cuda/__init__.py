"""NVIDIA GPUs through PyTorch: fp16, captured CUDA graphs, a stream pipeline, Triton kernels."""
