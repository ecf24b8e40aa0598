"""Measurements behind every speed claim: `python -m benchmarks NAME`, never a timed test."""
