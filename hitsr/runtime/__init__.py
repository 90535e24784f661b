"""Devices, the C++ compiler, CUDA graphs, free and peak memory, pictures as tensors."""
