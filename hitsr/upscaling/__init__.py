"""Upscale pictures: those of a set, to be scored, or a user's own files."""
