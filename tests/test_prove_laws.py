"""Laws of whole functions: what is proved, how it is said, and that it is not said of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import raises

from jaxconv.equivariance.prove import Law, prove

X = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
KERNELS = [
    jax.ShapeDtypeStruct(shape, jnp.float32) for shape in [(3, 3, 3, 8), (3, 3, 8, 8), (3, 3, 8, 8)]
]


def conv(x, kernel, stride=1, padding="SAME"):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=numbers
    )


def circular(x, kernel, stride=1):
    return conv(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap"), kernel, stride, "VALID")


def network(kernels, x, layer=conv, strides=(1, 2, 2)):
    for kernel, stride in zip(kernels, strides, strict=True):
        x = jax.nn.relu(layer(x, kernel, stride))
    return x


def pooled(kernels, x, **options):
    return network(kernels, x, **options).mean((1, 2))


def laws(f, x=X, **options):
    (output,) = prove(f, x, **options).outputs
    return output.laws


def test_circular_network_is_equivariant_on_the_lattice_of_its_strides():
    found = laws(lambda k, x: network(k, x, layer=circular), params=KERNELS)
    assert found == (Law("equivariant", 4, 1, 1), Law("equivariant", 4, 2, 1))


def test_circular_network_with_global_pooling_is_invariant():
    proof = prove(lambda k, x: pooled(k, x, layer=circular), X, params=KERNELS)
    assert proof.outputs[0].laws == (Law("invariant", 4),) * 2
    assert proof.theorem.startswith(
        "Output is invariant to shifts by multiples of 4 (16 of 256 shifts); "
        "the first obstruction is the stride of conv at test_prove_laws.py:"
    )


def test_zero_padding_leaves_an_interior():
    found = laws(lambda k, x: network(k, x, strides=(1, 1, 1)), params=KERNELS)
    assert found == (Law("interior", 1, 1, 1, (3, 3)), Law("interior", 1, 2, 1, (3, 3)))


def test_zero_padding_breaks_pooling_and_periodic_borders_repair_it():
    proof = prove(pooled_of_zeros, X, params=KERNELS)
    assert [law.kind for law in proof.outputs[0].laws] == ["unproved"] * 2
    assert proof.periodic_laws == ((Law("invariant", 4),) * 2,)
    assert laws(pooled_of_zeros, params=KERNELS, periodic=True) == (Law("invariant", 4),) * 2


def pooled_of_zeros(kernels, x):
    return pooled(kernels, x)


def test_a_stride_that_does_not_divide_the_size_is_not_proved():
    x = jax.ShapeDtypeStruct((1, 15, 15, 3), jnp.float32)
    found = laws(lambda k, x: pooled(k, x, layer=circular), x, params=KERNELS)
    assert [law.kind for law in found] == ["unproved"] * 2


def test_generic_weights_see_a_position_embedding_that_is_zero_today():
    position = jnp.zeros((1, 16, 16, 1))
    assert laws(lambda p, x: (x + p).mean((1, 2)), params=position, weights="actual") == (
        Law("invariant", 1),
        Law("invariant", 1),
    )
    (output,) = prove(lambda p, x: jnp.tanh(x + p).mean((1, 2)), X, params=position).outputs
    assert [law.kind for law in output.laws] == ["unproved"] * 2
    assert output.limits[0].primitive == "add"


def test_dense_head_is_not_proved_unless_its_weights_say_so():
    flat = lambda w, x: x.reshape(1, -1) @ w
    weights = jax.ShapeDtypeStruct((16 * 16 * 3, 2), jnp.float32)
    assert [law.kind for law in laws(flat, params=weights)] == ["unproved"] * 2
    same = jnp.ones((16 * 16 * 3, 2))
    assert laws(flat, params=same, weights="actual") == (Law("invariant", 1),) * 2


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: x[:, ::2], Law("equivariant", 2, 1, 1)),
        (lambda x: jnp.repeat(x, 2, 1), Law("equivariant", 1, 1, 2)),
        (lambda x: x[:, ::-1], Law("equivariant", 1, 1, -1)),
        (lambda x: x.transpose(0, 2, 1, 3), Law("equivariant", 1, 2, 1)),
        (lambda x: x.reshape(1, 2, 8, 16, 3), Law("permuted", 1)),
        (lambda x: x.max((1, 2)), Law("invariant", 1)),
        (lambda x: jnp.cumsum(x, 1)[:, -1], Law("unproved")),
        (lambda x: jnp.cumsum(x, 2), Law("equivariant", 1, 1, 1)),
    ],
)
def test_law_along_the_first_axis(f, expected):
    assert laws(f)[0] == expected


def test_several_inputs_shift_together():
    pair = {"image": X, "mask": jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)}
    joined = lambda x: x["image"] * jnp.repeat(jnp.repeat(x["mask"], 2, 1), 2, 2)
    assert laws(joined, pair) == (Law("equivariant", 2, 1, 2), Law("equivariant", 2, 2, 2))
    halves = laws(lambda x: x["mask"].mean((1, 2)), pair)
    assert halves == (Law("invariant", 2),) * 2  # a shift by 1 would move the mask by 1/2
    fixed = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
    other = lambda x: x * jnp.repeat(jnp.repeat(fixed, 2, 1), 2, 2)
    assert [law.kind for law in laws(other)] != ["equivariant"] * 2


def test_errors_name_the_argument():
    with raises(
        ValueError,
        "prove: x has 4 axes; expected distinct axes in [-4, 4). "
        "Got axes=(1, 7) for x of shape (1, 16, 16, 3). Use axes=(1,), say.",
    ):
        prove(lambda x: x, X, (1, 7))
    with raises(
        ValueError,
        'prove: weights is unknown; expected "generic" or "actual". '
        "Got weights='trained'. Use weights=\"generic\".",
    ):
        prove(lambda x: x, X, weights="trained")


def test_the_report_holds_the_theorem_the_limits_and_the_table():
    text = str(prove(pooled_of_zeros, X, params=KERNELS))
    assert text.splitlines()[0].startswith("Output: no shift law is proved; the first obstruction")
    assert "with circular borders: invariant to shifts by multiples of 4" in text
    assert "What strides and positions cost:\n  stride of conv at test_prove_laws.py:" in text
    assert "What borders cost:\n  zero padding of conv at test_prove_laws.py:" in text
    assert "  circular borders of conv at test_prove_laws.py:" in text


def test_a_constant_output_is_invariant():
    assert laws(lambda x: jnp.arange(3.0)) == (Law("invariant", 1),) * 2


def test_actual_weights_need_values():
    assert isinstance(np.asarray(0), np.ndarray)
    with raises(
        ValueError,
        "prove: params holds shapes, not values; expected arrays with weights='actual'. "
        "Got weights='actual'. Use weights=\"generic\".",
    ):
        prove(lambda p, x: x, X, params=KERNELS, weights="actual")


def phases(x):
    return jnp.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def adaptive(x):
    """Keeps the polyphase component of largest norm."""
    parts = phases(x)
    return parts[jnp.argmax(jnp.sum(parts**2, (1, 2, 3, 4)))]


def test_adaptive_sampling_is_equivariant_up_to_a_roll_that_depends_on_x():
    expected = tuple(Law("adaptive", 1, axis, 1, rolls=(0, 1)) for axis in (1, 2))
    assert laws(adaptive) == expected
    assert prove(adaptive, X).unmodelled == ()


@pytest.mark.parametrize("stages", [1, 2])
def test_adaptive_sampling_and_pooling_are_invariant_to_every_shift(stages):
    def f(x):
        for _ in range(stages):
            x = adaptive(x)
        return x.mean((1, 2))

    assert laws(f) == (Law("invariant", 1),) * 2


def test_a_skip_that_chose_another_phase_is_found():
    mixed = lambda x: (adaptive(x) + x[:, ::2, ::2]).mean((1, 2))
    assert laws(lambda x: jnp.tanh(adaptive(x) + x[:, ::2, ::2]).mean((1, 2))) == (
        Law("invariant", 2),
        Law("invariant", 2),
    )
    assert laws(mixed)[0].shift in (1, 2)


def folded(x, better):
    """The extreme of all rows, by a tree of comparisons."""
    while x.shape[1] > 1:
        a, b = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
        x = jnp.where(better(b, a) | jnp.isnan(b), b, a)
    return x


def test_a_maximum_written_as_a_choice_is_a_maximum():
    assert laws(lambda x: folded(x, jnp.greater))[0] == Law("invariant", 1)
    assert laws(lambda x: folded(x, jnp.less_equal))[0] == Law("invariant", 1)
    other = lambda b, a: jnp.sin(b) > jnp.sin(a)
    assert laws(lambda x: folded(x, other))[0].kind == "unproved"
    mixed = lambda x: jnp.where(x > jnp.roll(x, 1, 1), jnp.roll(x, 2, 1), x)
    assert laws(mixed)[0] == Law("equivariant", 1, 1, 1)


def filtered(modes, x):
    """A layer of a Fourier neural operator: the lowest modes of both axes, mixed and set back."""
    spectrum = jnp.fft.rfft2(x, axes=(1, 2))
    low = jnp.einsum("nhwc,hwcd->nhwd", spectrum[:, :3, :3], jax.lax.complex(modes[0], modes[1]))
    wide = jnp.zeros((1, 16, 9, 3), low.dtype).at[:, :3, :3].set(low)
    return jnp.fft.irfft2(wide, (16, 16), axes=(1, 2))


def resampled(x, rows):
    """Ideal resampling of 16 rows: the lowest 5 frequencies kept."""
    spectrum = jnp.fft.fft(x, axis=1)
    zeros = jnp.zeros((1, rows - 5, 16, 3), spectrum.dtype)
    return jnp.fft.ifft(jnp.concatenate([spectrum[:, :3], zeros, spectrum[:, -2:]], 1), axis=1).real


def squared_spectrum(x):
    return jnp.fft.ifft(jnp.fft.fft(x, axis=1) ** 2, axis=1).real


def pooled_twice(x):
    wide = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="wrap")
    window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
    return jax.lax.reduce_window(wide, -jnp.inf, jax.lax.max, window, strides, "VALID")


MODES = jax.ShapeDtypeStruct((2, 3, 3, 3, 3), jnp.float32)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: jnp.abs(jnp.fft.fft2(x, axes=(1, 2))), Law("invariant", 1)),
        (lambda x: resampled(x, 8), Law("equivariant", 2, 1, 1)),
        (lambda x: resampled(x, 32), Law("equivariant", 1, 1, 2)),
        (lambda x: resampled(x, 8).mean((1, 2)), Law("invariant", 2)),
        (squared_spectrum, Law("equivariant", 1, 1, 2)),
        (lambda x: jnp.sort(x, 1), Law("invariant", 1)),
        (lambda x: jnp.take_along_axis(jnp.tanh(x), jnp.argsort(x, 1), 1), Law("invariant", 1)),
        (lambda x: jnp.take_along_axis(x, jnp.argsort(x, 2), 2), Law("equivariant", 1, 1, 1)),
        (lambda x: pooled_twice(x).max((1, 2)), Law("invariant", 1)),
        (jax.grad(lambda x: (pooled_twice(x) ** 2).sum()), Law("equivariant", 2, 1, 2)),
    ],
)
def test_laws_beyond_convolutions(f, expected):
    assert laws(f)[0] == expected
    assert prove(f, X).unmodelled == ()


def test_spectral_layers_are_equivariant_for_all_weights():
    assert laws(filtered, params=MODES) == tuple(Law("equivariant", 1, d, 1) for d in (1, 2))


def test_gradients_of_weights_are_invariant():
    loss = lambda k, x: (jax.nn.relu(circular(x, k, 2)) ** 2).sum()
    assert laws(jax.grad(loss), params=KERNELS[0]) == (Law("invariant", 2),) * 2
    of_input = jax.grad(loss, argnums=1)
    assert laws(of_input, params=KERNELS[0]) == tuple(Law("equivariant", 2, d, 2) for d in (1, 2))


def test_images_that_shift_together_may_be_multiplied():
    pair = lambda x: circular(x["a"], jnp.ones((3, 3, 3, 3))) * x["b"]
    expected = tuple(Law("equivariant", 1, d, 1) for d in (1, 2))
    assert laws(pair, {"a": X, "b": X}) == expected
    wrong = lambda x: x["a"] * x["b"][:, ::-1]
    assert laws(wrong, {"a": X, "b": X})[0].shift == 8
