"""`fast` on the last step of normalizations, however they are written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import jaxconv as jc
from jaxconv.ops import _define

FORM = "scale and shift of channels"


def batch(x, scale, shift):
    """Batch norm with the mean of squares, as Flax writes it."""
    mean, squares = x.mean((0, 1, 2)), jnp.square(x).mean((0, 1, 2))
    factor = jax.lax.rsqrt(squares - jnp.square(mean) + 1e-3) * scale
    return (x - mean) * factor + shift


def spread(x, scale, shift):
    """The same with every row spread over the image before."""
    full = lambda row: jnp.broadcast_to(row, x.shape)
    mean = x.mean((0, 1, 2), keepdims=True)
    return full(shift[None]) + full(scale) * (x - mean)


def layer(x, scale, shift):
    """Layer norm: what is scaled was not centered by a row."""
    u = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-3)
    return u * scale + shift


def reversed_difference(x, scale, shift):
    """Mean - x, and not x - mean."""
    return (x.mean((0, 1, 2)) - x) * scale + shift


NORMS = {f.__name__: f for f in (batch, spread, layer, reversed_difference)}


@pytest.fixture(autouse=True)
def _float64_and_promotion_of_ranks():
    with jax.numpy_rank_promotion("allow"), jax.enable_x64(True):
        yield


def operands():
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal(s)) for s in ((2, 3, 4, 5), 5, 5))


def derivatives(f):
    """Value, gradients, a directional derivative, and the gradient of a gradient's square."""

    def all_of_it(*args):
        loss = lambda *args: (f(*args) ** 3).sum()
        gradients = jax.grad(loss, (0, 1, 2))
        along = jax.jvp(f, args, jax.tree.map(jnp.cos, args))[1]
        squares = lambda *args: sum((g**2).sum() for g in gradients(*args))
        return f(*args), gradients(*args), along, jax.grad(squares, (0, 1, 2))(*args)

    return all_of_it


@pytest.mark.parametrize("f", NORMS.values(), ids=NORMS)
def test_values_and_derivatives_are_equal(f):
    everything = jax.jit(lambda *a: (derivatives(jc.fast(f))(*a), derivatives(f)(*a)))
    fast, plain = everything(*operands())
    assert [change.form for change in jc.fast.explain(f, *operands())] == [FORM]
    assert_close(fast, plain)


def test_the_comparison_notices_another_mean():
    x, scale, shift = operands()
    with pytest.raises(AssertionError, match="relative error"):
        assert_close(jc.fast(layer)(x + 1e-6 * x[:1], scale, shift), layer(x, scale, shift))


@pytest.mark.skipif(not _define.ENABLED, reason="without primitives the sums are left to XLA")
def test_the_gradient_has_no_third_sum():
    def center(x, mean, scale, shift):
        return (x - mean) * scale + shift

    x, scale, shift = operands()
    loss = lambda f: lambda *args: (f(*args) ** 2).sum()  # one sum, in every program below
    program = lambda f: str(jax.make_jaxpr(jax.grad(loss(f), (1, 2, 3)))(x, scale, scale, shift))
    assert program(center).count("reduce_sum") >= 4
    assert program(jc.fast(center)).count("reduce_sum") == 1
    assert program(jc.fast(center)).count("jaxconv_moments") == 1


OTHERS = {
    "one number for all": lambda x, scale, shift: x * 2.0 + shift,
    "rows of another axis": lambda x, scale, shift: x * x[:1, :1, :, :1] + x[:1, :1, :, :1],
    "scales of pixels": lambda x, scale, shift: x * x[..., :1] + shift,
    "no product": lambda x, scale, shift: x + scale + shift,
    "whole images": lambda x, scale, shift: x * x + x,
    "rows alone": lambda x, scale, shift: scale * scale + shift,
    "another dtype": lambda x, scale, shift: (
        (x * scale).astype(jnp.float32) + shift.astype(jnp.float32)
    ),
    "whole numbers": lambda x, scale, shift: (
        (x > 0).astype(int) * jnp.ones(5, int) + jnp.ones(5, int)
    ),
}


@pytest.mark.parametrize("f", OTHERS.values(), ids=OTHERS)
def test_what_is_no_row_of_channels_is_left_alone(f):
    assert not jc.fast.explain(f, *operands())


def test_under_vmap_and_inside_it():
    args = tuple(jnp.stack([a, 2 * a]) for a in operands())
    expected = jax.vmap(batch)(*args)
    assert_close(jax.vmap(jc.fast(batch))(*args), expected)
    assert_close(jc.fast(jax.vmap(batch))(*args), expected)
