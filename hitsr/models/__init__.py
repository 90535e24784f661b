"""The networks, to be read; `fused/` computes the same functions faster.

Reading order: backbone, block, attention, correlation, then what they use (windows, position,
ffn, ngram). Every part has three formulations. "paper" stands in the part's own file: the textbook
formula, step by step. "fused" is a function of the same name in `fused/`. "released", in
`released`, does what the published code does.
"""
