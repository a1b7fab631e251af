"""Baselines that read the same images as the model and write scene programs, too (docs/baselines.md)."""
