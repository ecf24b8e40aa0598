"""Blame: every operation after which less holds is charged, and none whose cost is made good."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxconv.equivariance.prove import prove

X = jax.ShapeDtypeStruct((1, 16, 12, 2), jnp.float32)
POSITION = jnp.arange(16.0).reshape(1, 16, 1, 1)


def conv(x, stride=1, padding="SAME", window=3):
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(window, window, x.shape[-1], 2)))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (stride, stride), padding, dimension_numbers=numbers
    )


def wrap(x, amount=1):
    return jnp.pad(x, ((0, 0), (amount, amount), (amount, amount), (0, 0)), mode="wrap")


def interleave(x):
    """Undoes a stride of 2 along axis 1: the phase that it dropped comes back."""
    even, odd = x[:, ::2], x[:, 1::2]
    return jnp.stack([even, odd], 2).reshape(x.shape)


def half_recovered(x):
    """Every fourth row and the row two after it: together, every second row."""
    quarters = jnp.stack([x[:, ::2][:, ::2], x[:, 2::4]], 2)
    return quarters.reshape(x.shape[0], x.shape[1] // 2, *x.shape[2:])


def costs(f, x=X, axis=0, **options):
    """(level, cause, before, after) of what limits one axis, in program order."""
    (output,) = prove(f, x, **options).outputs
    return [(l.level, l.cause, l.before, l.after) for l in output.limits if l.axis == axis]


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: jnp.roll(x, 3, 1), []),
        (lambda x: wrap(x)[:, 1:-1], []),
        (lambda x: conv(wrap(x), 1, "VALID"), []),
        (interleave, []),
        (lambda x: jnp.concatenate([x[:, 5:], x[:, :5]], 1), []),
        (lambda x: x.reshape(1, 192, 2) @ jnp.ones((2, 3)), []),
        (lambda x: x[:, ::2], [("stride", "stride", 1, 2)]),
        (lambda x: x[:, ::2][:, ::2], [("stride", "stride", 1, 2), ("stride", "stride", 2, 4)]),
        (lambda x: conv(wrap(x), 2, "VALID"), [("stride", "stride", 1, 2)]),
        (lambda x: interleave(x)[:, ::4], [("stride", "stride", 1, 4)]),
        (lambda x: x[:, ::2] + interleave(x)[:, ::2], [("stride", "stride", 1, 2)] * 2),
        (lambda x: (x[:, ::2].mean(1), x)[1], []),
        (lambda x: x + POSITION, [("stride", "position-dependent constant", 1, 16)]),
        (conv, [("border", "zero padding", 1, 16)]),
        (lambda x: conv(x, 1, "VALID"), [("border", "window", 1, 16)]),
        (
            lambda x: conv(x, 2),
            [("stride", "stride", 1, 2), ("border", "zero padding", 1, 16)],
        ),
    ],
)
def test_charges(f, expected):
    assert costs(f) == expected


def test_a_charge_that_is_partly_made_good_stays_for_what_is_left():
    """The first stride, 1 to 2, is in force; the second, 2 to 4, is made good."""
    assert prove(half_recovered, X).outputs[0].laws[0].shift == 2
    first, *others = costs(half_recovered)
    assert first == ("stride", "stride", 1, 2)
    assert [(before, after) for _, _, before, after in others] == [(1, 2)]


def test_charges_of_two_branches_are_both_kept():
    both = lambda x: (x[:, :12:2] * x[:, ::2][:, :6], jnp.repeat(x[:, :, ::3], 3, 2)[:, ::2])
    outputs = prove(both, X).outputs
    assert {(l.before, l.after) for l in outputs[1].limits if l.axis == 1} == {(1, 3)}
    assert {(l.before, l.after) for l in outputs[1].limits if l.axis == 0} == {(1, 2)}


def test_axes_are_charged_apart():
    f = lambda x: x[:, ::2, ::3]
    assert costs(f, axis=0) == [("stride", "stride", 1, 2)]
    assert costs(f, axis=1) == [("stride", "stride", 1, 3)]


def test_strides_are_charged_where_borders_have_left_nothing():
    def f(x):
        for _ in range(9):
            x = conv(x)
        return conv(x, 2).mean((1, 2))

    found = costs(f)
    assert ("stride", "stride", 1, 2) in found
    assert [cause for level, cause, *_ in found if level == "border"] == ["zero padding"] * 8
    (output,) = prove(f, X).outputs
    assert output.borders[-1].effect == "no shift is left: the halos meet"


def test_a_stride_that_does_not_divide_says_so():
    x = jax.ShapeDtypeStruct((1, 15, 12, 2), jnp.float32)
    (output,) = prove(lambda x: conv(wrap(x), 2, "VALID"), x).outputs
    first = output.strides[0]
    assert (first.axis, first.effect) == (0, "leaves multiples of 2, which does not divide 15")


def test_weights_that_differ_by_position_are_named():
    f = lambda p, x: x.reshape(1, -1) @ p
    assert costs(f, params=jax.ShapeDtypeStruct((384, 5), jnp.float32)) == [
        ("stride", "position-dependent weights", 1, 16)
    ]


def test_the_line_is_that_of_the_call():
    def f(x):
        x = jnp.tanh(x)
        x = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="reflect")
        return x.mean(1)

    (output,) = prove(f, X).outputs
    first = output.limits[0]
    assert first.source.line - f.__code__.co_firstlineno == 2
    assert (first.level, first.cause) == ("border", "selection")
