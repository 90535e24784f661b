"""Measure all that a GPU decides; `python -m benchmarks.cuda` says how.

| file | what it measures |
| ready | nothing: it compiles the kernels, network by network, and says which networks fail |
| forwards | forwards in every way, in turns, and their memory |
| training | training steps in every way, in turns, and their memory |
| precision | how far results and gradients are from the paper formulation |
| kernels | every launch of a Triton kernel by itself: time, bytes, share of the memory's speed |
| attribution | local attribution maps |
| targets | nothing: it sets what was measured beside what was aimed at |
"""
