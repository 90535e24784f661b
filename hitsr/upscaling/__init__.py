"""Upscale pictures: a set to be scored, or users' own files."""
