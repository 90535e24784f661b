"""The fused formulation: the functions of `models/`, computed faster.

| file | what is faster |
| block | on a CPU, a few rows of the picture go through a whole branch at a time |
| attention | attention kernels; biases and masks cached in eval mode; masks only at the edges |
| large_windows | biases and masks made for a few rows of queries at a time |
| correlation | products re-associated, so that no scores of tokens by base cells are needed |
| features | on CUDA devices, the correlation's features with few passes over memory |
| transposed | channel norms divide the scores; the projection is applied to the weights |
| ngram | window embeddings as sums of weighted pixels |
| ffn | GELU in place, and a faster gradient of the depthwise convolution |
| cpu/strips, cpu/tiles | as many rows, and as many scores, at a time as the caches take |
| cpu/products | linear layers as convolutions, where these are faster |
| norm | on CUDA devices, the fastest of three ways |
| convolution | on CUDA devices, a convolution and a sum in one kernel |
| position | position biases by pooling and slicing of their tables |
| cache | what depends on parameters alone is kept in eval mode |
| cuda/block | on CUDA devices, each branch of a block in one kernel or a few |
| operators | window attention and correlation as functions, for networks of your own |

`backend` says on which device and dtype which of these runs; `cpu/` holds what is for CPUs alone,
`cuda/` what is for CUDA devices: `cuda/kernels/` Triton kernels, and `cuda/choice` the rule that
chooses between them and PyTorch's operators.
"""
