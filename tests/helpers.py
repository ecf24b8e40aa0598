"""Comparisons that raise, and say what differs."""

import contextlib

import jax
import numpy as np
import pytest

from jaxconv.ops import _define

needs_primitives = pytest.mark.skipif(
    not _define.ENABLED, reason="JAXCONV_PRIMITIVES=off: there are none"
)
"""What is asked of programs, and not of numbers, is asked of those that hold our primitives."""

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}


def assert_close(actual, expected, tolerance=None):
    """Equal structure, shape and dtype, and values within `tolerance` of the largest expected.

    The tolerance is relative to the largest absolute value of each leaf and comes from its dtype
    unless given. NaNs and infinities must stand in the same places.
    """
    jax.tree.map(lambda _, __: None, actual, expected)  # raises when the structures differ
    for path, leaf in jax.tree_util.tree_leaves_with_path(actual):
        other = dict(_by_path(expected))[jax.tree_util.keystr(path)]
        _assert_leaf_close(leaf, other, tolerance, jax.tree_util.keystr(path))


def _by_path(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path), leaf


def _assert_leaf_close(actual, expected, tolerance, where):
    assert actual.shape == expected.shape, f"{where}: shape {actual.shape} != {expected.shape}"
    dtype = str(actual.dtype)
    assert dtype == str(expected.dtype), f"{where}: dtype {dtype} != {expected.dtype}"
    limit = TOLERANCE.get(dtype, 0.0) if tolerance is None else tolerance
    a = np.asarray(actual).astype(np.float64)
    b = np.asarray(expected).astype(np.float64)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=f"{where}: NaNs differ")
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite], err_msg=f"{where}: infinities differ")
    scale = max(np.abs(b[finite]).max(initial=0.0), 1e-30)
    error = np.abs(a[finite] - b[finite]).max(initial=0.0) / scale
    assert error <= limit, f"{where}: relative error {error:.3e} > {limit:.1e}"


@contextlib.contextmanager
def raises(kind, message):
    """The block must raise exactly `kind` with exactly `message` (notes on lines of their own).

    JAX adds a note about removed frames to what passes through a trace; that one is left out.
    """
    caught = None
    try:
        yield
    except kind as error:
        caught = error
    assert caught is not None, f"did not raise {kind.__name__}: {message}"
    assert type(caught) is kind, f"raised {type(caught).__name__}, expected {kind.__name__}"
    notes = [note for note in getattr(caught, "__notes__", []) if not note.startswith("-----")]
    text = "\n".join([str(caught), *notes])
    assert text == message, f"\nmessage : {text}\nexpected: {message}"


def quick_jit(f):
    """Compiles f with LLVM's optimizer off: a test compiles much and computes little.

    A fifth of the time of a default compilation (40 convolutions of two axes with their gradients:
    4.6 to 0.6 s in float32), most of it from the older emitters of fused loops. The passes that
    rewrite the program, where wrong forms of an operation would show, all run.
    """
    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,
    }
    return jax.jit(f, compiler_options=options)
