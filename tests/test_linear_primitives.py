"""Sums, layouts and shares of windows, and affine maps of channels: exact matrices, all transforms.

Every one is linear, so its matrix says all: the matrix of NumPy's loops in float64, that of forward
mode, that of reverse mode, and that of the derivative of a transpose must be one.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit
from jax import lax

from jaxconv.ops import _channels, _gathers
from jaxconv.ops._cpu.taps import Slide

SLIDES = {  # window, stride, dilation, spatial sizes
    "tiles": ((2, 3), (2, 3), (1, 1), (4, 7)),
    "overlap": ((3, 3), (1, 2), (1, 1), (5, 6)),
    "dilated": ((2, 2), (1, 3), (2, 1), (5, 5)),
    "gaps": ((1, 2), (2, 3), (1, 1), (5, 6)),
    "line": ((40,), (3,), (1,), (47,)),  # more taps than are unrolled
}


def loops(name):
    """The matrix (*spatial', *window, *spatial) of all that windows hold."""
    window, stride, dilation, spatial = SLIDES[name]
    axes = zip(spatial, window, stride, dilation, strict=True)
    output = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes]
    matrix = np.zeros((*output, *window, *spatial))
    for place in itertools.product(*map(range, output)):
        for tap in itertools.product(*map(range, window)):
            pixel = tuple(np.multiply(stride, place) + np.multiply(dilation, tap))
            matrix[(*place, *tap, *pixel)] = 1
    return matrix


def matrices(function, x):
    """The matrix of a linear function by both modes, and that of its transpose transposed."""
    size = x.size

    def both(x):
        flat = lambda v: function(v.reshape(x.shape)).ravel()
        transpose = lambda ct: jax.linear_transpose(flat, x.ravel())(ct)[0]
        ct = jnp.zeros(jax.eval_shape(flat, x.ravel()).shape, x.dtype)
        return (
            jax.jacfwd(flat)(x.ravel()),
            jax.jacrev(flat)(x.ravel()),
            jax.jacfwd(transpose)(ct).T,
            jax.jacrev(transpose)(ct).T,
        )

    found = quick_jit(both)(x)
    return [np.asarray(m).reshape(-1, size) for m in found]


@pytest.mark.parametrize("kind", ["total", "gather"])
@pytest.mark.parametrize("name", SLIDES)
def test_what_windows_hold(name, kind):
    window, stride, dilation, spatial = SLIDES[name]
    rank, slide = len(window), Slide(stride, dilation, ((0, 0),) * len(window))
    with jax.enable_x64(True):
        exact = loops(name)
        if kind == "total":
            exact = exact.sum(tuple(range(rank, 2 * rank)))
        function = lambda x: getattr(_gathers, kind)(x, slide, window)
        x = jnp.asarray(np.random.default_rng(0).standard_normal((1, *spatial, 1)))
        expected = exact.reshape(-1, x.size)
        for found in matrices(function, x):
            assert_close(found, expected, 1e-14)
        assert not np.allclose(matrices(lambda x: function(x[:, ::-1]), x)[0], expected)


def test_mapped_windows_are_windows_of_each():
    slide, window = Slide((2, 1), (1, 1), ((0, 0), (0, 0))), (2, 3)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 5, 6, 2)), jnp.float32)
    for form in (_gathers.total, _gathers.gather):
        run = lambda x, form=form: form(x, slide, window)
        loss = lambda x, run=run: jnp.sum(jax.checkpoint(run)(x) ** 3)
        each = lambda f, x=x: jnp.stack([f(part) for part in x])
        found = quick_jit(lambda x, run=run, loss=loss: (
            jax.vmap(run, 1, 1)(jnp.moveaxis(x, 0, 1)), jax.vmap(jax.grad(loss))(x),
            lax.map(jax.grad(loss), x),
        ))(x)  # fmt: skip
        derived = quick_jit(lambda x, loss=loss, each=each: each(jax.grad(loss)))(x)
        assert_close(jnp.moveaxis(found[0], 1, 0), each(run))
        assert_close(found[1:], (derived, derived))


def plain(q, u):
    shift, scale = (jnp.broadcast_to(row, u.shape) for row in q)
    return u * scale + shift


def test_an_affine_map_of_channels_and_its_derivatives():
    """Values, mixed second derivatives in float64, and mapped over either operand."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        q, u, t = (jnp.asarray(rng.standard_normal(s)) for s in ((2, 5), (3, 11, 5), (3, 11, 5)))

        def derived(form):
            loss = lambda q, u: jnp.sum(jnp.sin(form(q, u)))
            gradient = jax.grad(loss, (0, 1))
            return (
                form(q, u),
                gradient(q, u),
                jax.jvp(gradient, (q, u), (q + 1, t)),
                jax.grad(lambda q, u: sum(jnp.vdot(g, g) for g in gradient(q, u)), (0, 1))(q, u),
                jax.vmap(gradient, (None, 0))(q, u),
                jax.vmap(gradient, (0, None))(jnp.stack([q, 2 * q]), u),
            )

        found, expected = quick_jit(lambda: (derived(_channels.scale_shift), derived(plain)))()
        assert_close(found, expected, 1e-13)
        with pytest.raises(AssertionError):
            assert_close(found[0], plain(q[::-1], u), 1e-13)


def test_moments_are_numpys():
    """Counts with a divisor near 8, prime ones and a single one."""
    rng = np.random.default_rng(0)
    for count in (1, 7, 13, 64, 97):
        y, u = rng.standard_normal((2, count, 3)).astype(np.float32)
        exact = np.stack([y.astype(float).sum(0), (y.astype(float) * u).sum(0)])
        found = quick_jit(_channels.moments)(y, u)
        assert np.max(np.abs(found - exact)) < 1e-6 * np.sum(np.abs(y * u) + np.abs(y))
        assert np.max(np.abs(found - exact[::-1])) > 1e-3 or count == 1
