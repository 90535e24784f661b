"""Devices, the C++ compiler, free and peak memory, and conversion of pictures to tensors."""
