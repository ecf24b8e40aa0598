"""Layers: pairs of pure functions over plain dicts."""
