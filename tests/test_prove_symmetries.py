"""Flips and quarter turns: what is proved, that numbers agree, and what is not proved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxconv.equivariance.prove import prove_symmetries

RNG = np.random.default_rng(5)
HALF = RNG.normal(size=(3, 3, 2, 4))
EVEN_ROWS = HALF + HALF[::-1]
ROUND = sum(np.rot90(HALF, k) + np.rot90(HALF, k)[::-1] for k in range(4))
ROWS = RNG.normal(size=(1, 8, 1, 1))
X = RNG.normal(size=(2, 8, 8, 2))


def conv(x, kernel, stride=1, padding="SAME"):
    numbers = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(
        x, jnp.asarray(kernel), strides, padding, dimension_numbers=numbers
    )


def circular(x, kernel, stride=1):
    return conv(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap"), kernel, stride, "VALID")


def pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def tokens(x):
    t = x.reshape(2, 64, 2)
    return jax.nn.softmax(t @ t.transpose(0, 2, 1), -1) @ t


CASES = {
    "position by position": (jnp.tanh, "eee"),
    "even rows, zero padding": (lambda x: conv(x, EVEN_ROWS), "euu"),
    "round kernel": (lambda x: jax.nn.relu(conv(x, ROUND)), "eee"),
    "any kernel": (lambda x: conv(x, HALF), "uuu"),
    "round kernel, stride 2": (lambda x: circular(x, ROUND, 2), "eee"),
    "pools": (lambda x: pool(circular(x, ROUND)), "eee"),
    "slice": (lambda x: x[:, ::2], "eeu"),
    "global mean of any kernel": (lambda x: jnp.tanh(circular(x, HALF)).mean((1, 2)), "uuu"),
    "global mean": (lambda x: (x**2).mean((1, 2)), "iii"),
    "tokens": (tokens, "ppp"),
    "position table": (lambda x: x + ROWS, "ueu"),
    "even table": (lambda x: x + ROWS + ROWS[:, ::-1], "eeu"),
    "transposed": (lambda x: x.transpose(0, 2, 1, 3), "eee"),
    "rolled": (lambda x: jnp.roll(x, 3, 1), "eee"),
    "running sum": (lambda x: jnp.cumsum(x, 1), "ueu"),
    "flatten and dense": (lambda x: x.reshape(2, -1) @ RNG.normal(size=(128, 3)), "uuu"),
    "constant": (lambda x: jnp.arange(3.0), "iii"),
    "gradient of a pool": (jax.grad(lambda x: (pool(x) ** 2).sum()), "uuu"),
}


def transformed(law, x, axes):
    """σ T_s x, or its counterpart on the output with `axes` and a roll after instead."""
    if len(axes) == 2:
        return np.flip(np.swapaxes(x, *axes), axes[0])
    return np.flip(x, axes[0])


def check(law, f):
    axes = (1, 2) if "turn" in law.action else (int(law.action.split()[-1]),)
    with jax.enable_x64(True):
        before = np.asarray(f(jnp.asarray(X)))
        after = np.asarray(f(jnp.asarray(transformed(law, np.roll(X, law.shift or 0, axes), axes))))
    if law.kind == "equivariant":
        before = np.roll(transformed(law, before, law.axes), law.roll, law.axes)
    if law.kind == "permuted":
        before, after = np.sort(before.ravel()), np.sort(after.ravel())
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_laws_of_flips_and_turns(name):
    f, expected = CASES[name]
    with jax.enable_x64(True):
        found = prove_symmetries(f, X)
    assert "".join(law.kind[0] for law in found) == expected
    for law in found:
        if law.kind != "unproved":
            check(law, f)


def test_the_check_sees_a_wrong_law():
    (law, *_) = prove_symmetries(lambda x: conv(x, EVEN_ROWS), X.astype(np.float32))
    with pytest.raises(AssertionError):
        check(law, lambda x: conv(x, HALF))


def test_a_strided_net_follows_a_flip_after_a_shift():
    with jax.enable_x64(True):
        flip, *_ = prove_symmetries(lambda x: circular(x, ROUND, 2), X)
    assert (flip.shift, flip.axes, flip.roll) == ((1,), (1,), (0,))
    assert str(flip) == (
        "output, flip of axis 1 after a roll by (1,): equivariant: axes (1,) of the output follow"
    )


def test_generic_weights_do_not_flip_and_rectangles_do_not_turn():
    kernel = jax.ShapeDtypeStruct((3, 3, 2, 4), jnp.float32)
    x = jax.ShapeDtypeStruct((2, 8, 6, 2), jnp.float32)
    found = prove_symmetries(lambda k, x: conv(x, k), x, params=kernel)
    assert [(law.action, law.kind) for law in found] == [
        ("flip of axis 1", "unproved"),
        ("flip of axis 2", "unproved"),
    ]
    values = jnp.asarray(ROUND, jnp.float32)
    actual = prove_symmetries(lambda k, x: conv(x, k), x, params=values, weights="actual")
    assert [law.kind for law in actual] == ["equivariant"] * 2
