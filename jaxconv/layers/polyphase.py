"""Sampling on the phase that the image chooses, and a body that runs between down and up."""

from jaxconv import _children, _parse, ops
from jaxconv._types import IntOrInts, Layer, LayerLike
from jaxconv.layers import _checks
from jaxconv.layers._make import stateless
from jaxconv.ops.polyphase import NORMS


def polyphase_down(
    stride: IntOrInts = 2,
    *,
    norm: str = "l2",
    low_pass: IntOrInts | None = None,
    name: str = "polyphase_down",
) -> Layer:
    """Samples every `stride`-th pixel, starting where the image says.

        y[n, i, c] = x[n, s·i + p[n], c],    p[n] = argmax_p ‖x[n, s·i + p, c]‖

    Every model takes it in place of its strides, and samples the body and the shortcut of a block
    by one choice: `resnet(20, padding_mode="circular", down=polyphase_down)` is invariant to
    every circular shift, trained or not. In blocks of your own, sample both branches joined on
    the channel axis, or use `ops.polyphase_down`, which takes and returns the choice.

    Shapes: x (N, *spatial, C) -> y (N, *spatial / stride, C).
    Params: {}. State: {}.
    Equivariance: exact on circular shifts by whole strides; any other shift of x rolls y too,
    by an amount that depends on x. So what ends in a mean over pixels is invariant to every
    shift, and `polyphase_around` is equivariant to every shift.

    Args:
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf", what the choice goes by.
        low_pass: taps of a circular binomial blur before sampling; the choice is made on x.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` for an axis that the
            stride does not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> polyphase_down(2).apply({}, {}, x)[0].ravel().tolist()
        [3.0, 2.0]

    References:
        Chaman and Dokmanic 2021, arXiv:2011.14214, sections 3.1 and 4.
    """
    _check("polyphase_down", stride, norm, low_pass)
    return stateless(name, lambda x: ops.polyphase_down(x, stride, norm=norm, low_pass=low_pass)[0])


def polyphase_around(
    body: LayerLike,
    stride: IntOrInts = 2,
    *,
    norm: str = "l2",
    low_pass: IntOrInts | None = None,
    name: str = "polyphase_around",
) -> Layer:
    """Runs a layer on the samples of one phase and puts its output back on their pixels.

        y = up(body(down(x)), p),    p[n] = argmax_p ‖x[n, s·i + p, c]‖

    with `ops.polyphase_down` and `ops.polyphase_up`, and zeros between the pixels. Encoder and
    decoder share the choice because it never leaves the layer; a level of a U-Net is
    `parallel(lambda x: x, polyphase_around(deeper), combine="concatenate")`, and a level below
    is another one inside `deeper`.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C') for a body that keeps the spatial axes.
    Params: {"body"}. State: {"body"}.
    Equivariance: exact on circular shifts by whole strides, for a body that is equivariant to
    every shift; and on every shift of an x without ties (`ops.polyphase_select`).

    Args:
        body: layer or function x -> y that keeps the spatial axes.
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf", what the choice goes by.
        low_pass: taps of a circular binomial blur before sampling; the choice is made on x.
        name: what the layer is called inside a composition.

    Returns:
        A `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` for an axis that the
            stride does not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> polyphase_around(lambda x: 10 * x).apply({}, {}, x)[0].ravel().tolist()
        [0.0, 30.0, 0.0, 20.0]

    References:
        Chaman and Dokmanic 2021, arXiv:2110.14644, section 3.
    """
    _check("polyphase_around", stride, norm, low_pass)
    inner = body if isinstance(body, Layer) else stateless(_children.function_name(body), body)

    def down(x):
        return ops.polyphase_down(x, stride, norm=norm, low_pass=low_pass)

    def init(key, x):
        samples, _ = _checks.fits(down, x)
        with _children.located(name, "body", samples):
            parts = inner.init(_children.fold(key, "body"), samples)
        params, state = {}, {}
        for tree, entry in zip((params, state), parts, strict=True):
            _children.put(tree, "body", entry)
        return params, state

    def apply(params, state, x, *, train=False, key=None):
        samples, index = down(x)
        trees = (params, state)
        y, new = _children.run(name, "body", inner, trees, samples, train=train, key=key)
        kept = {}
        _children.put(kept, "body", new)
        return ops.polyphase_up(y, index, stride), kept

    return Layer(init, apply, name)


def _check(where: str, stride: IntOrInts, norm: str, low_pass: IntOrInts | None) -> None:
    _parse.ints(where, "stride", stride)
    _parse.choice(where, "norm", norm, NORMS)
    if low_pass is not None:
        _parse.ints(where, "low_pass", low_pass)
