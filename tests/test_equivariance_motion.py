"""How values move through sorts, products, matrices and spectra: sound ones are not accused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv as jc
from jaxconv.equivariance import audit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
FILTER = RNG.normal(size=(1, 8, 5, 3)).astype(np.complex64)
MODES = (RNG.normal(size=(4, 3, 3, 2)) + 1j * RNG.normal(size=(4, 3, 3, 2))).astype(np.complex64)
MATRIX = RNG.normal(size=(8, 8)).astype(np.float32)
CIRCULANT = np.stack([np.roll(MATRIX[0], i) for i in range(8)])
KERNEL = RNG.normal(size=(3, 3, 3, 2)).astype(np.float32)


def tokens(x):
    t = x.reshape(2, 64, 3)
    return jax.nn.softmax(t @ t.transpose(0, 2, 1), -1) @ t


def filtered(x):
    return jnp.fft.irfft2(jnp.fft.rfft2(x, axes=(1, 2)) * FILTER, axes=(1, 2))


def neural_operator(x):
    """Weights for a few frequencies, none for the others."""
    f = jnp.fft.rfft2(x, axes=(1, 2))
    kept = jnp.einsum("nhwc,hwcd->nhwd", f[:, :4, :3], MODES)
    f = jnp.zeros((2, 8, 5, 2), f.dtype).at[:, :4, :3].set(kept)
    return jnp.tanh(jnp.fft.irfft2(f, axes=(1, 2)))


def centered(x):
    f = jnp.fft.fftshift(jnp.fft.fft2(x, axes=(1, 2)), axes=(1, 2))
    f = jnp.fft.ifftshift(f * FILTER[:, :, :1], axes=(1, 2))
    return jnp.fft.ifft2(f, axes=(1, 2)).real


def zero_padded(x):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, KERNEL, (1, 1), "SAME", dimension_numbers=numbers)


SOUND = {
    "sorted rows": (lambda x: jnp.sort(x, 1), "3 on axis 2"),
    "sorted pixels": (lambda x: jnp.sort(x.reshape(2, -1), -1), "stays"),
    "attention": (tokens, "8 on axis 1, 3 on axis 1"),
    "attention, then a mean": (lambda x: tokens(x).mean(1), "stays"),
    "power spectrum": (lambda x: jnp.abs(jnp.fft.fft2(x, axes=(1, 2))), "stays"),
    "autocorrelation": (
        lambda x: jnp.fft.irfft(jnp.abs(jnp.fft.rfft(x, axis=1)) ** 2, n=8, axis=1),
        "3 on axis 2",
    ),
    "cross-correlation": (
        lambda x: jnp.fft.irfft(
            jnp.fft.rfft(x[..., :1], axis=1) * jnp.fft.rfft(x[..., 1:2], axis=1).conj(), n=8, axis=1
        ),
        "3 on axis 2",
    ),
    "pixels of channels": (
        lambda x: (
            x[..., :2].reshape(2, 8, 8, 2, 1, 1).transpose(0, 1, 3, 2, 4, 5).reshape(2, 16, 8)
        ),
        "2 on axis 1, 3 on axis 2",
    ),
    "spectrum over channels": (
        lambda x: jnp.abs(jnp.fft.rfft(x, axis=3)),
        "1 on axis 1, 3 on axis 2",
    ),
    "filter": (filtered, "1 on axis 1, 3 on axis 2"),
    "centered filter": (centered, "1 on axis 1, 3 on axis 2"),
    "neural operator": (neural_operator, "1 on axis 1, 3 on axis 2"),
    "circulant matrix": (
        lambda x: jnp.einsum("oh,nhwc->nowc", CIRCULANT, x),
        "1 on axis 1, 3 on axis 2",
    ),
    "ideal sampling": (lambda x: jc.ops.ideal_down(x, 2), "1/2 on axis 1, 3/2 on axis 2"),
    "ideal sampling up": (lambda x: jc.ops.ideal_up(x, 2), "2 on axis 1, 6 on axis 2"),
}
BROKEN = {
    "positions before attention": (
        lambda x: tokens(x + np.arange(8.0, dtype=np.float32).reshape(1, 8, 1, 1)).mean(1),
        "add",
    ),
    "zero padding after a filter": (lambda x: zero_padded(filtered(x)), "conv_general_dilated"),
    "a matrix that is not circulant": (
        lambda x: jnp.tanh(jnp.einsum("oh,nhwc->nowc", MATRIX, x)),
        "dot_general",
    ),
    "a nonlinearity between ideal samplings": (
        lambda x: jc.ops.ideal_up(jnp.tanh(jc.ops.ideal_down(x, 2)), 2),
        "tanh",
    ),
    "a running sum": (lambda x: jnp.cumsum(x, 1), "cumsum"),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_moves_as_it_should_is_not_accused(name):
    f, law = SOUND[name]
    found = audit(f, X, lie=False)
    assert found.obeys, str(found)
    assert found.outputs[0].law == law


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_beside_them_is(name):
    f, primitive = BROKEN[name]
    found = audit(f, X, lie=False)
    assert not found.obeys
    assert [o.path.split("/")[-1] for o in found.guilty] == [primitive], str(found)


def test_whole_numbers_are_said_to_hide_changes():
    text = "Whole numbers hide small changes: audit the scores that they are made of."
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[:, 3, 4] = 1
    assert text in str(
        audit(
            lambda x: jnp.argmax(zero_padded(x).mean((1, 2)) + X[:1, 0, 0, :2], -1),
            image,
            shift=(5, 0),
        )
    )
    assert text not in str(audit(lambda x: jnp.argmax(x.mean((1, 2)), -1), X))
    assert text not in str(audit(lambda x: zero_padded(x).mean((1, 2)), X))


def test_complex_outputs_have_no_lie_derivative():
    found = audit(lambda x: jnp.fft.fft(x, axis=3), X)
    assert found.note == "no Lie derivative: no output is of real numbers"
    assert found.obeys
