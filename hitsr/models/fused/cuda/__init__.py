"""What the fused formulation does on CUDA devices alone, in plain PyTorch: few, large kernels.

Nothing here needs a GPU to be tested: every file computes the same on a CPU.
"""
