"""The convolutional network that read digits first."""

import jax

from jaxconv._types import Layer, PaddingMode
from jaxconv.compose import serial
from jaxconv.layers import conv, dense, flatten, max_pool
from jaxconv.models._blocks import Down, Style, channels_last, styled


def lenet(
    classes: int = 10, *, padding_mode: PaddingMode = "zeros", down: Down | None = None
) -> Layer:
    """Classifies small images with two convolutions, two pools and three dense layers.

        y = dense(relu(dense(relu(dense(flatten(pool(relu(conv(pool(relu(conv(x))))))))))))

    LeNet-5 with today's parts: rectifiers, max pooling and a softmax in the loss in place of
    sigmoids, weighted averages and radial basis functions; 61,706 parameters for MNIST.

    Shapes: x (N, *spatial, C) -> logits (N, classes); 28 pixels an axis become 5.
    Params: {"conv_1", "conv_2", "dense_1", "dense_2", "dense_3"}. State: {}.
    Equivariance: the convolutions only; flattening ends it.

    Args:
        classes: logits.
        padding_mode: of the first convolution; the second one is not padded.
        down: None for max pools with stride 2; else a function stride -> layer that samples after
            max pools with stride 1.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: in `init` for channels-first images, and for images under 12 pixels.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
        >>> params, state = jax.eval_shape(lenet().init, jax.random.key(0), x)
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        61706

    References:
        LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document
        recognition", figure 2.
    """
    style = styled("lenet", padding_mode, down)
    model = serial(
        conv_1=conv(6, 5, padding="half", padding_mode=padding_mode),
        relu_1=jax.nn.relu,
        pool_1=_pool(style),
        conv_2=conv(16, 5, padding="valid"),
        relu_2=jax.nn.relu,
        pool_2=_pool(style),
        flatten=flatten(),
        dense_1=dense(120),
        relu_3=jax.nn.relu,
        dense_2=dense(84),
        relu_4=jax.nn.relu,
        dense_3=dense(classes),
        name="lenet",
    )
    return channels_last(model)


def _pool(style: Style) -> Layer:
    pool = max_pool(2) if style.down is None else max_pool(2, stride=1, padding="same")
    return serial(max_pool=pool, **style.sampled(2))
