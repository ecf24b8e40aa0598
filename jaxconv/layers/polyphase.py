"""Sampling on the phase that the image chooses, and a body that runs between down and up."""

import jax

from jaxconv import _children, _parse, ops
from jaxconv._types import IntOrInts, Layer, LayerLike
from jaxconv.layers import _checks
from jaxconv.layers._choose import Temperature, chooser
from jaxconv.layers._make import chain, stateless
from jaxconv.layers.conv import conv
from jaxconv.layers.dense import dense
from jaxconv.layers.global_pool import global_avg_pool


def polyphase_down(
    stride: IntOrInts = 2,
    *,
    norm: str = "l2",
    scorer: LayerLike | None = None,
    temperature: Temperature = 1.0,
    low_pass: IntOrInts | None = None,
    name: str = "polyphase_down",
) -> Layer:
    """Samples every `stride`-th pixel, starting where the image says.

        y[n, i, c] = x[n, s·i + p[n], c],    p[n] = argmax_p ‖x[n, s·i + p, c]‖

    A `scorer` learns what to go by. It sees each phase apart, and the mean of what it returns is
    the logit of that phase, so that logits move with the phases. In training the phases are mixed,
    with weights that approach a choice as the temperature τ falls:

        evaluation: p[n] = argmax_p logit[n, p]
        training:   y[n, i, c] = Σ_p w[n, p] · x[n, s·i + p, c],
                    w[n] = softmax((logit[n] + Gumbel noise) / τ)

    Every model takes it in place of its strides, and samples the body and the shortcut of a block
    by one choice: `resnet(20, padding_mode="circular", down=polyphase_down)` is invariant to
    every circular shift, trained or not. In blocks of your own, sample both branches joined on
    the channel axis, or use `ops.polyphase_down`, which takes and returns the choice.

    Shapes: x (N, *spatial, C) -> y (N, *spatial / stride, C).
    Params: {}, or {"scorer"}. State: {}, or {"scorer", "step"}, the training steps so far.
    Equivariance: exact on circular shifts by whole strides; any other shift of x rolls y too,
    by an amount that depends on x. So what ends in a mean over pixels is invariant to every
    shift, and `polyphase_around` is equivariant to every shift. With a scorer in evaluation only,
    and for a scorer whose mean no roll changes: circular convolutions and functions of pixels.

    Args:
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf", what the choice goes by; with a scorer, among equal logits.
        scorer: layer or function of phases (N · phases, *spatial / stride, C), `phase_scorer()`
            say; None for the norm.
        temperature: τ, a number or a schedule: a function of the training steps so far.
        low_pass: taps of a circular binomial blur before sampling; the choice is made on x.
        name: what the layer is called inside a composition.

    Returns:
        A `Layer`; with a scorer it needs `key` when it trains.

    Raises:
        ValueError: at construction for an impossible argument; in `init` for an axis that the
            stride does not divide; in `apply` for training with a scorer and without a key.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> polyphase_down(2).apply({}, {}, x)[0].ravel().tolist()
        [3.0, 2.0]

    References:
        Chaman and Dokmanic 2021, arXiv:2011.14214, sections 3.1 and 4. Rojas-Gomez et al. 2022,
        arXiv:2210.08001 (learned choices). Jang, Gu and Poole 2016, arXiv:1611.01144, equation 2
        (the softmax with noise).
    """
    choice = chooser("polyphase_down", stride, norm, scorer, temperature, low_pass)

    def init(key, x):
        return choice.init(name, key, x)

    def apply(params, state, x, *, train=False, key=None):
        index, state = choice.apply(name, (params, state), x, train=train, key=key)
        return ops.polyphase_down(x, stride, index=index, low_pass=low_pass)[0], state

    return Layer(init, apply, name)


def polyphase_around(
    body: LayerLike,
    stride: IntOrInts = 2,
    *,
    norm: str = "l2",
    scorer: LayerLike | None = None,
    temperature: Temperature = 1.0,
    low_pass: IntOrInts | None = None,
    name: str = "polyphase_around",
) -> Layer:
    """Runs a layer on the samples of one phase and puts its output back on their pixels.

        y = up(body(down(x)), p),    p[n] = argmax_p ‖x[n, s·i + p, c]‖

    with `ops.polyphase_down` and `ops.polyphase_up`, and zeros between the pixels. Encoder and
    decoder share the choice because it never leaves the layer; a level of a U-Net is
    `parallel(lambda x: x, polyphase_around(deeper), combine="concatenate")`, and a level below
    is another one inside `deeper`. A scorer learns the choice as in `polyphase_down`; in training
    the samples go back to every phase, by the same weights.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C') for a body that keeps the spatial axes.
    Params: {"body"}, and {"scorer"}. State: {"body"}, and {"scorer", "step"}.
    Equivariance: exact on circular shifts by whole strides, for a body that is equivariant to
    every shift; and on every shift of an x without ties (`ops.polyphase_select`).

    Args:
        body: layer or function x -> y that keeps the spatial axes.
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf", what the choice goes by; with a scorer, among equal logits.
        scorer: layer or function of phases (N · phases, *spatial / stride, C), `phase_scorer()`
            say; None for the norm.
        temperature: τ, a number or a schedule: a function of the training steps so far.
        low_pass: taps of a circular binomial blur before sampling; the choice is made on x.
        name: what the layer is called inside a composition.

    Returns:
        A `Layer`; with a scorer it needs `key` when it trains.

    Raises:
        ValueError: at construction for an impossible argument; in `init` for an axis that the
            stride does not divide; in `apply` for training with a scorer and without a key.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> polyphase_around(lambda x: 10 * x).apply({}, {}, x)[0].ravel().tolist()
        [0.0, 30.0, 0.0, 20.0]

    References:
        Chaman and Dokmanic 2021, arXiv:2110.14644, section 3.
    """
    choice = chooser("polyphase_around", stride, norm, scorer, temperature, low_pass)
    inner = body if isinstance(body, Layer) else stateless(_children.function_name(body), body)

    def down(x, index=None):
        return ops.polyphase_down(x, stride, index=index, low_pass=low_pass)[0]

    def init(key, x):
        params, state = choice.init(name, key, x)
        samples = _checks.fits(down, x)
        with _children.located(name, "body", samples):
            body_params, body_state = inner.init(_children.fold(key, "body"), samples)
        _children.put(params, "body", body_params)
        _children.put(state, "body", body_state)
        return params, state

    def apply(params, state, x, *, train=False, key=None):
        trees = (params, state)
        index, kept = choice.apply(name, trees, x, train=train, key=key)
        y, new = _children.run(name, "body", inner, trees, down(x, index), train=train, key=key)
        kept = {entry: tree for entry, tree in kept.items() if entry != "body"}
        _children.put(kept, "body", new)
        return ops.polyphase_up(y, index, stride), kept

    return Layer(init, apply, name)


def phase_scorer(features: int = 8, *, name: str = "phase_scorer") -> Layer:
    """Gives every image one number, which no circular shift changes: a score to learn.

        y[n] = Σ_f weight[f] · mean_i relu(conv_3(x))[n, i, f]

    with circular padding. The scorer of `polyphase_down` and `polyphase_around`.

    Shapes: x (N, *spatial, C) -> y (N, 1).
    Params: {"conv", "dense"}. State: {}.
    Equivariance: invariant to every circular shift.

    Args:
        features: channels of the convolution.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for features below 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> down = polyphase_down(2, scorer=phase_scorer(4))
        >>> params, state = down.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
        >>> params["scorer"]["conv"]["kernel"].shape
        (3, 3, 3, 4)

    References:
        Rojas-Gomez et al. 2022, arXiv:2210.08001 (the same small network for every phase).
    """
    _parse.integer("phase_scorer", "features", features)
    return chain(
        name,
        conv=conv(features, 3, padding_mode="circular"),
        relu=stateless("relu", jax.nn.relu),
        pool=global_avg_pool(),
        dense=dense(1, bias=False),
    )
