"""Formulations of convolution and pooling that XLA runs fast on a CPU, in plain lax."""
