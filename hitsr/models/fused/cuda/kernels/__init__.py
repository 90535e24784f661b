"""Triton kernels for CUDA devices. Each file has kernels and the functions that launch them.

| file | what one launch does |
| common | parts that kernels share |
| launch | where kernels can run, and the one place that launches them |
| norm | layer norm, and its gradient |
| mlp | a feed-forward network with its norm and residual |
| convolution | a 1x1 or 3x3 convolution with its bias, and a sum with other features |
| window | parts that kernels of attention share: tokens of windows, and their scores |
| attention | attention in windows, with or without its projection and residual |
| attention_gradient | the gradient of attention in windows, in two launches |
| linear | a linear layer, with a norm before it and an activation after it |
| attention_branch | window attention with its norm, layers and residual |
| conv_ffn | hidden features of one with a depthwise convolution; what becomes of them |
| correlate | the correlation of given queries and values, or its gradients, in several launches |
| features | dual features of the correlation, or their gradients, in several launches |
| correlation | parts of HiT’s first branch, `x + LN(correlation(x))`, for inference |
| ngram | embeddings of windows for n-grams, and their gradient; contexts of all windows |
| neighbours | n-gram attention between its linear layers, for training; its gradient takes two |

Kernels read parameters as they are, in whatever float type they have, and convert them as they load
them; nothing is packed or padded beforehand. Products have float32 sums. Channels, heads and tokens
are padded in registers to powers of two, at least 16: what lies beyond the real ones is masked in
every load and store. No kernel uses atomics, so results repeat to the last bit.

Importing these files needs Triton, except `launch`, which says whether it is there.
"""

# Kernels that compute products of mixers, whatever else they compute.
OF_MIXERS = {
    "_attention_branch",
    "_attend",
    "_attend_and_project",
    "_windows_of_one_tile",
    "_products",
    "_mix",
}
