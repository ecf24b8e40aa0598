"""Architectures, one a file, written only with layers and compositions."""
