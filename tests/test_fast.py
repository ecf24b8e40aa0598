"""`fast` changes how a program computes and nothing else, whatever the program is wrapped in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from jax import lax

import jaxconv as jc
from jaxconv.ops import _define

NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")

# window, stride, dilation, channels, features, groups, layout, padding
CASES = {
    "depthwise": (3, 1, 1, 4, 4, 4, NHWC, ((1, 1), (1, 1))),
    "depthwise, multiplier, stride": (3, 2, 1, 3, 6, 3, NHWC, ((1, 1), (0, 1))),
    "depthwise, dilated, channels first": (3, 1, 2, 4, 4, 4, NCHW, ((2, 2), (2, 2))),
    "grouped": (3, 1, 1, 8, 4, 2, NHWC, ((1, 1), (1, 1))),
    "pointwise, stride": (1, 2, 1, 5, 7, 1, NCHW, ((0, 0), (0, 0))),
    "stem": (3, 2, 1, 1, 8, 1, NHWC, ((1, 1), (1, 1))),
    "dense, stride": (3, 2, 1, 8, 4, 1, NHWC, ((1, 1), (1, 1))),
    "negative low padding": (2, 1, 1, 8, 16, 1, NHWC, ((0, 0), (-1, 1))),
    "negative, a window as large as the map": (8, 3, 1, 4, 6, 1, NCHW, ((-1, 0), (-1, 0))),
    "negative, such a window in groups": (8, 3, 1, 4, 6, 2, NCHW, ((-1, 0), (-1, 0))),
    "excessive padding": (2, 1, 1, 8, 4, 1, NHWC, ((3, 0), (0, 0))),
}


def convolution(case):
    """A lax convolution of the case, the same one padded by hand, and operands in float64."""
    window, stride, dilation, channels, features, groups, layout, padding = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 10, channels))
    kernel = rng.standard_normal((window, window, channels // groups, features))
    if layout is NCHW:
        x, kernel = np.moveaxis(x, -1, 1), kernel.transpose(3, 2, 0, 1)

    def conv(x, kernel, padding=padding):
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, rhs_dilation=(dilation, dilation),
            dimension_numbers=layout, feature_group_count=groups,
        )  # fmt: skip

    def by_hand(x, kernel):
        full = [(0, 0, 0), *((*pair, 0) for pair in padding)]
        full.insert(1 if layout is NCHW else 3, (0, 0, 0))
        return conv(lax.pad(x, np.zeros((), x.dtype), full), kernel, "VALID")

    return conv, by_hand, x, kernel


def step(f):
    """Value and both gradients of a loss on f."""
    return jax.value_and_grad(lambda x, kernel: (f(x, kernel) ** 2).sum(), (0, 1))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_values_and_gradients_are_those_of_lax(case):
    with jax.enable_x64(True):
        conv, by_hand, x, kernel = convolution(case)
        everything = jax.jit(
            lambda x, kernel: (
                step(jc.fast(conv))(x, kernel),  # gradients of the fast form
                jc.fast(step(conv))(x, kernel),  # the fast form of lax's gradients
                step(by_hand)(x, kernel),
            )
        )
        outside, inside, expected = everything(x, kernel)
        assert_close(outside, expected)
        assert_close(inside, expected)


@pytest.mark.parametrize("name", [key for key in CASES if key.startswith("negative")])
def test_no_negative_padding_is_left(name):
    with jax.enable_x64(True):
        conv, _, x, kernel = convolution(CASES[name])
        text = jax.jit(jc.fast(conv)).lower(x, kernel).as_text()
        assert "pad = [[-" not in text
        assert "], [-" not in text
        plain = jax.jit(conv).lower(x, kernel).as_text()
        assert "pad = [[-" in plain or "], [-" in plain


def test_the_comparison_notices_a_flipped_kernel():
    with jax.enable_x64(True):
        conv, by_hand, x, kernel = convolution(CASES["depthwise"])
        flipped = jax.jit(jc.fast(conv))(x, kernel[::-1].copy())
        with pytest.raises(AssertionError, match="relative error"):
            assert_close(flipped, jax.jit(by_hand)(x, kernel))


def depthwise(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=x.shape[-1]
    )


@jax.custom_vjp
def scaled_gradient(x, kernel):
    return depthwise(x, kernel)


scaled_gradient.defvjp(
    lambda x, kernel: (depthwise(x, kernel), (x, kernel)),
    lambda saved, g: (3 * depthwise(g, saved[1]), 2 * saved[1]),
)


def nested(x, kernel):
    """Depthwise convolutions in everything that a program can be nested in."""
    with jax.named_scope("jitted"):
        x = jax.jit(depthwise)(x, kernel)
    x = jax.checkpoint(depthwise)(x, kernel)
    x, _ = lax.scan(lambda c, _: (depthwise(c, kernel), None), x, None, length=2)
    x = lax.cond(x.sum() > 0, lambda x: depthwise(x, kernel), lambda x: -x, x)
    x = scaled_gradient(x, kernel)
    fixed = lax.stop_gradient((x, kernel))
    start = (fixed[0], 0)
    y, _ = lax.while_loop(
        lambda c: c[1] < 2, lambda c: (depthwise(c[0], fixed[1]), c[1] + 1), start
    )
    return x + lax.stop_gradient(y)


def operands():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((3, 3, 1, 3)) / 3
    return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)


def test_nested_programs_are_rewritten_and_rules_are_kept():
    x, kernel = operands()
    fast = jax.jit(step(jc.fast(nested)))
    assert_close(fast(x, kernel), jax.jit(step(nested))(x, kernel))
    if _define.ENABLED:
        assert "stablehlo.convolution" not in jax.jit(jc.fast(nested)).lower(x, kernel).as_text()
    assert "stablehlo.convolution" in jax.jit(nested).lower(x, kernel).as_text()


def test_batching_inside_and_outside():
    x, kernel = operands()
    batch = jnp.stack([x, 2 * x])
    inside = jc.fast(jax.vmap(depthwise, (0, None)))(batch, kernel)
    outside = jax.vmap(jc.fast(depthwise), (0, None))(batch, kernel)
    expected = jnp.stack([depthwise(x, kernel), depthwise(2 * x, kernel)])
    assert_close(inside, expected)
    assert_close(outside, expected)


def test_what_is_not_known_is_left_alone():
    x, _ = operands()
    assert len(jc.fast.explain(jnp.tanh, x)) == 0
    assert str(jc.fast.explain(jnp.tanh, x)) == "fast replaces 0 operations"


def test_flags_and_strings_pass_through():
    x, kernel = operands()
    f = lambda x, kernel, *, mode, train: depthwise(x, kernel) if train else mode
    assert jc.fast(f)(x, kernel, mode="a", train=True).shape == x.shape


def test_numbers_of_the_program_come_back_as_arrays():
    f = lambda x: (3, 2.0, True, 2 * x)
    got, expected = jc.fast(f)(jnp.ones(2)), jax.jit(f)(jnp.ones(2))
    assert all(isinstance(leaf, jax.Array) for leaf in got)
    assert [leaf.dtype for leaf in got] == [leaf.dtype for leaf in expected]


def test_explanation_reads_well():
    x, kernel = operands()
    assert str(jc.fast.explain(depthwise, x, kernel)) == (
        "fast replaces 1 operation\n"
        "    1 x conv_general_dilated (2, 5, 6, 3) (3, 3, 1, 3) -> depthwise"
    )


def test_other_platforms_get_plain_convolutions():
    x, kernel = operands()
    exported = jax.export.export(jax.jit(jc.fast(depthwise)), platforms=["cuda"])(x, kernel)
    assert "stablehlo.convolution" in exported.mlir_module()
