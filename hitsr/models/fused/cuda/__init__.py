"""For CUDA devices: Triton kernels (`kernels/`), and few, large kernels of PyTorch's beside them.

| file | what it holds |
| choice | the rule that chooses between both |
| block | each branch of a block as one kernel or a few |
| attention, correlation, ngram, norm | parts of branches, with gradients, by kernels or PyTorch |
| heads | weights padded to heads that PyTorch's attention kernels take |
| order, by_size | indices that lay tokens out window by window, kept by size of picture |

What calls PyTorch's operators is tested on a CPU, where kernels run in Triton's interpreter.
"""
