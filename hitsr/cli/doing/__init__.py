"""The work of the verbs, mostly one function per kind of job, which returns its record.

These modules import torch and other heavy packages; verbs import them only when they run.
"""
