"""The U-Nets that `shift_equivariance_denoising.py` compares: one shape, five styles."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

import jaxconv as jc


class Style(NamedTuple):
    """How one U-Net filters, bends, changes its resolution, and adds.

    Attributes:
        conv: features -> a filter of 3 x 3 taps.
        between: makes what follows a filter.
        around: (a network, its features) -> the same between half the resolution and back.
        add: a network -> the network and its input, added.
    """

    conv: Callable[..., jc.Layer]
    between: Callable[[], jc.Layer]
    around: Callable[[jc.Layer, int], jc.Layer]
    add: Callable[[jc.Layer], jc.Layer] = jc.residual


def norm_and_relu() -> jc.Layer:
    """What follows a filter in most networks."""
    return jc.serial(jc.batch_norm(), jax.nn.relu)


def alias_free_bend() -> jc.Layer:
    """The same without frequencies that the pixels cannot hold."""
    return jc.serial(jc.alias_free_norm(), jc.filtered_polynomial())


def pooled(body: jc.Layer, features: int) -> jc.Layer:
    """Half the resolution by a max pool, back by a transposed convolution."""
    return jc.serial(jc.max_pool(2), body, jc.conv_transpose(features, 2, stride=2))


def on_chosen_pixels(body: jc.Layer, features: int) -> jc.Layer:
    """The same, on every second pixel from where the image says, and back onto these pixels.

    The choice goes by what differs from the mean, so that exposure does not change it; and what
    lies between the chosen pixels is interpolated, not left dark. Where exposure does not matter,
    `jc.polyphase_around(body)` is enough.
    """
    del features

    def chosen(x):
        mean = jnp.mean(x, axis=tuple(range(1, x.ndim)), keepdims=True)
        index = jc.ops.polyphase_select(x - mean, 2).index
        return jc.ops.polyphase_down(x, 2, index=index)

    def init(key, x):
        return body.init(key, jax.eval_shape(chosen, x)[0])

    def apply(params, state, x, *, train=False, key=None):
        samples, index = chosen(x)
        y, state = body.apply(params, state, samples, train=train, key=key)
        return 4 * jc.ops.blur(jc.ops.polyphase_up(y, index, 2), 3), state

    largest = jc.max_pool(2, stride=1, padding="same", padding_mode="circular")
    return jc.serial(largest, jc.Layer(init, apply, "around"))


def ideally(body: jc.Layer, features: int) -> jc.Layer:
    """The same through the spectrum."""
    del features
    return jc.serial(jc.ideal_down(2), body, jc.ideal_up(2))


def plus_what_moves(body: jc.Layer) -> jc.Layer:
    """Adds the input less its Nyquist frequency, about which an alias-free network says nothing."""
    return jc.residual(body, lambda x: jc.ops.ideal_down(jc.ops.ideal_up(x)))


circular_conv = functools.partial(jc.conv, window=3, padding_mode="circular")
STYLES = {
    "zero padding": Style(functools.partial(jc.conv, window=3), norm_and_relu, pooled),
    "circular": Style(circular_conv, norm_and_relu, pooled),
    "polyphase": Style(circular_conv, norm_and_relu, on_chosen_pixels),
    "alias-free": Style(circular_conv, alias_free_bend, ideally, plus_what_moves),
    "polyphase, affine": Style(
        functools.partial(jc.affine_conv, window=3),
        jc.sort_pool,
        on_chosen_pixels,
        jc.affine_residual,
    ),
}


def unet(style: Style, levels: Sequence[int]) -> jc.Layer:
    """A U-Net added to its input; `levels`: the features of each, the finest first."""

    def convs(features):
        return jc.serial(
            style.conv(features), style.between(), style.conv(features), style.between()
        )

    def level(features):
        if len(features) == 1:
            return convs(features[0])
        deeper = style.around(level(features[1:]), features[1])
        skip = jc.parallel(bridge=lambda x: x, deeper=deeper, combine="concatenate")
        return jc.serial(convs(features[0]), skip, convs(features[0]))

    head = style.conv(1, kernel_init=jax.nn.initializers.normal(0.01))
    return style.add(jc.serial(level(levels), head))
