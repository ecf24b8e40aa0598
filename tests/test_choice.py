"""Every formulation of the table for CPUs: values and both gradients, against lax in float64."""

import jax
import jax.numpy as jnp
import pytest
from helpers import assert_close, quick_jit
from jax import lax

from jaxconv.ops import _convolution
from jaxconv.ops._cpu import choice
from jaxconv.ops._cpu.taps import Slide

# row: (spatial, window, channels, features, stride, dilation, padding, groups)
CASES = {
    "depthwise": [
        ((8, 7), (3, 2), 5, 5, (1, 1), (1, 1), ((1, 1), (1, 0)), 5),
        ((11, 13), (3, 3), 3, 6, (2, 3), (2, 1), ((2, 1), (0, 2)), 3),  # prime, a multiplier
        ((32,), (9,), 4, 4, (1,), (2,), ((16, 0),), 4),  # causal, more than one reduction
        ((5, 4, 6), (2, 3, 1), 2, 4, (1, 2, 1), (1, 1, 1), ((1, 0), (1, 1), (0, 0)), 2),
    ],
    "grouped, dilated strides": [
        ((8, 9), (2, 3), 12, 6, (2, 3), (1, 2), ((1, 1), (1, 0)), 2),
    ],
    "grouped": [
        ((7, 8), (3, 3), 8, 4, (1, 2), (1, 1), ((1, 1), (1, 1)), 4),
        ((7, 8), (2, 3), 6, 9, (1, 1), (2, 1), ((0, 2), (1, 1)), 3),
        ((9,), (3,), 64, 64, (1,), (1,), ((1, 1),), 16),  # several blocks of merged groups
        ((5, 4), (3, 2), 64, 66, (1, 1), (1, 2), ((1, 1), (1, 0)), 2),  # wide groups, by rows
        ((46, 46), (2, 2), 4, 4, (1, 1), (1, 1), ((1, 0), (0, 1)), 2),  # many pixels
    ],
    "small maps": [
        ((2, 2), (3, 3), 8, 6, (1, 1), (1, 1), ((1, 1), (1, 1)), 1),
        ((4, 3), (3, 3), 4, 5, (2, 3), (1, 2), ((1, 0), (2, 2)), 1),
        ((5, 1, 3), (1, 3, 2), 3, 4, (2, 1, 2), (1, 1, 1), ((0, 0), (1, 1), (0, 0)), 1),
    ],
    "dilated strides": [
        ((8, 9), (2, 3), 12, 6, (2, 3), (1, 2), ((1, 1), (1, 0)), 1),  # lax aborts on this
        ((7, 6, 9), (2, 2, 3), 3, 4, (2, 1, 2), (2, 1, 3), ((1, 1), (0, 1), (2, 2)), 1),
    ],
    "pointwise": [
        ((7, 8), (1, 1), 5, 7, (1, 1), (1, 1), ((0, 0), (0, 0)), 1),
        ((7, 8), (1, 1), 5, 7, (2, 3), (1, 1), ((1, 0), (0, 2)), 1),
        ((3, 4), (1, 1), 2, 515, (2, 1), (1, 1), ((0, 0), (0, 0)), 1),  # summed in three parts
    ],
    "stem, few features": [
        ((8, 9), (3, 3), 3, 8, (2, 1), (1, 1), ((1, 1), (1, 1)), 1),
        ((8, 9), (2, 3), 2, 5, (1, 1), (2, 1), ((1, 0), (0, 2)), 1),
    ],
    "stem": [
        ((8, 9), (3, 3), 3, 9, (2, 1), (1, 1), ((1, 1), (1, 1)), 1),
        ((8, 9), (2, 3), 2, 10, (1, 1), (2, 1), ((1, 0), (0, 2)), 1),
    ],
    "patches": [
        ((8, 8), (2, 2), 8, 6, (2, 2), (1, 1), ((0, 0), (0, 0)), 1),
        ((11, 8), (4, 3), 3, 6, (4, 3), (1, 1), ((1, 2), (0, 1)), 1),  # pixels left over
        ((7, 6, 5), (2, 3, 2), 4, 6, (2, 3, 2), (1, 1, 1), ((0, 1), (0, 0), (0, 0)), 1),
    ],
    "volumes": [
        ((5, 6, 7), (3, 3, 2), 4, 5, (1, 1, 1), (1, 1, 1), ((1, 1), (0, 1), (1, 0)), 1),
        ((6, 5, 7), (3, 2, 3), 4, 5, (2, 1, 2), (1, 2, 1), ((2, 0), (1, 1), (1, 1)), 1),
    ],
    "strided, few channels": [
        ((13, 14), (6, 9), 3, 4, (2, 3), (1, 1), ((2, 1), (3, 4)), 1),
        ((17,), (7,), 4, 5, (2,), (1,), ((0, 3),), 1),
    ],
    "strided": [
        ((9, 8), (4, 4), 8, 5, (2, 2), (1, 1), ((1, 1), (2, 1)), 1),
        ((11, 10), (5, 7), 9, 4, (2, 3), (1, 1), ((2, 1), (3, 4)), 1),
    ],
    "dense": [
        ((8, 9), (3, 3), 4, 6, (1, 1), (1, 1), ((1, 1), (1, 0)), 1),
        ((8, 9), (3, 3), 4, 6, (2, 1), (1, 2), ((1, 1), (1, 0)), 1),
    ],
}


def by_lax(x, kernel, slide):
    """lax's convolution of an input that was padded before."""
    x = jnp.pad(x, ((0, 0), *slide.padding, (0, 0)))
    spatial = "DHW"[-len(slide.stride) :]
    return lax.conv_general_dilated(
        x, kernel, slide.stride, "VALID", rhs_dilation=slide.dilation,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        feature_group_count=slide.groups,
    )  # fmt: skip


def operands(rng, case):
    spatial, window, channels, features, stride, dilation, padding, groups = case
    x = rng.standard_normal((2, *spatial, channels))
    kernel = rng.standard_normal((*window, channels // groups, features))
    return x, kernel, Slide(stride, dilation, padding, groups)


@pytest.mark.parametrize("row", CASES)
def test_values_and_gradients_are_those_of_lax(row, rng):
    with jax.enable_x64(True):
        drawn = [operands(rng, case) for case in CASES[row]]
        slides = [slide for _, _, slide in drawn]

        @quick_jit
        def everything(arrays):
            found = []
            for (x, kernel), slide in zip(arrays, slides, strict=True):
                for f in (_convolution.convolve, by_lax):
                    y, back = jax.vjp(lambda x, k, f=f, s=slide: f(x, k, s), x, kernel)
                    found.append((y, *back(jnp.cos(y))))
            return found[::2], found[1::2]

        ours, expected = everything([(x, kernel) for x, kernel, _ in drawn])
        assert_close(ours, expected)
        flipped = [(y, dx, jnp.flip(dk, 0)) for y, dx, dk in ours]
        if row != "pointwise":
            with pytest.raises(AssertionError, match="relative error"):
                assert_close(flipped, expected)


def test_every_row_has_cases_and_serves_them():
    assert list(CASES) == [row.name for row in choice.TABLE]
    for name, cases in CASES.items():
        for spatial, window, channels, features, stride, dilation, padding, groups in cases:
            slide = Slide(stride, dilation, padding, groups)
            output = slide.output(spatial, window)
            facts = choice.facts(channels, features, window, slide, output)
            assert choice.choose(facts).name == name, facts


def test_every_row_says_what_was_measured():
    for row in choice.TABLE:
        assert any(c.isdigit() for c in row.evidence) or row.name == "dense", row
