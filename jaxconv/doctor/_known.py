"""What the canaries said where they were run: the expected verdict per version of jaxlib.

Measured on x86-64 processors with AVX-512, XLA_FLAGS unset, plain JAX; this library's operations
are expected to be right everywhere. A new version is recorded here after `python -m jaxconv doctor`
has been read; the tests fail until it is, and say what to record.
"""

KNOWN: dict[str, dict[str, str]] = {
    "0.10.2": {
        "rows": "wrong",
        "nan": "wrong",
        "rank_7": "crashed",
        "negative_padding": "wrong",
        "padding_gradient": "wrong",
        "gradients": "right",
        "dilated_gradient": "crashed",
        "ties": "right",
    },
}
