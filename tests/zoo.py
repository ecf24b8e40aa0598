"""Standard architectures for the prover, each written once for a kit of one framework's layers.

A kit makes and calls layers in one go: `kit.conv(x, features, window, stride)`. Arrays have axes
(..., height, width, channels); a kit that works on single examples has nothing before height.
"""

import jax
import jax.numpy as jnp


def residual_network(k, x, *, blocks=(1, 1, 1, 1), width=8, bottleneck=False):
    """ResNet with the strides in the 3x3 convolutions."""
    x = jax.nn.relu(k.norm(k.conv(x, width, 7, 2)))
    x = k.max_pool(x, 3, 2)
    for stage, count in enumerate(blocks):
        features = width * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            y = (
                bottleneck_body(k, x, features, stride)
                if bottleneck
                else body(k, x, features, stride)
            )
            if y.shape != x.shape:
                x = k.norm(k.conv(x, y.shape[-1], 1, stride))
            x = jax.nn.relu(x + y)
    return k.dense(x.mean((-3, -2)), 10)


def body(k, x, features, stride):
    x = jax.nn.relu(k.norm(k.conv(x, features, 3, stride)))
    return k.norm(k.conv(x, features, 3))


def bottleneck_body(k, x, features, stride):
    x = jax.nn.relu(k.norm(k.conv(x, features, 1)))
    x = jax.nn.relu(k.norm(k.conv(x, features, 3, stride)))
    return k.norm(k.conv(x, 4 * features, 1))


def mobile_network(
    k, x, *, blocks=((1, 4, 1, 1), (6, 8, 1, 2), (6, 8, 2, 2), (6, 12, 1, 2), (6, 16, 1, 2))
):
    """MobileNetV2: inverted residual blocks, as (expansion, features, count, stride)."""
    x = jax.nn.relu6(k.norm(k.conv(x, 8, 3, 2)))
    for expansion, features, count, first in blocks:
        for block in range(count):
            x = inverted(k, x, features, expansion, first if block == 0 else 1, jax.nn.relu6)
    x = jax.nn.relu6(k.norm(k.conv(x, 32, 1)))
    return k.dense(x.mean((-3, -2)), 10)


def inverted(k, x, features, expansion, stride, activation, *, window=3, excite=False):
    wide = expansion * x.shape[-1]
    y = activation(k.norm(k.conv(x, wide, 1))) if expansion > 1 else x
    y = activation(k.norm(k.conv(y, wide, window, stride, groups=wide)))
    if excite:
        gate = activation(k.dense(y.mean((-3, -2), keepdims=True), max(x.shape[-1] // 4, 1)))
        y = y * jax.nn.sigmoid(k.dense(gate, wide))
    y = k.norm(k.conv(y, features, 1))
    return x + y if y.shape == x.shape else y


def efficient_network(
    k,
    x,
    *,
    blocks=((1, 4, 1, 1, 3), (4, 8, 2, 2, 3), (4, 8, 1, 2, 5), (4, 12, 1, 2, 3), (4, 16, 1, 2, 5)),
):
    """Like EfficientNet: inverted blocks with 3x3 and 5x5 windows, gates and swish."""
    x = jax.nn.silu(k.norm(k.conv(x, 8, 3, 2)))
    for expansion, features, count, first, window in blocks:
        for block in range(count):
            stride = first if block == 0 else 1
            x = inverted(k, x, features, expansion, stride, jax.nn.silu, window=window, excite=True)
    return k.dense(x.mean((-3, -2)), 10)


def convnext(k, x, *, depths=(1, 1, 1, 1), widths=(4, 8, 12, 16)):
    """ConvNeXt: patches of 4, depthwise 7x7 windows, layer scale."""
    x = k.layer_norm(k.conv(x, widths[0], 4, 4))
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            x = k.conv(k.layer_norm(x), width, 2, 2)
        for _ in range(depth):
            y = k.layer_norm(k.conv(x, width, 7, groups=width))
            y = k.dense(jax.nn.gelu(k.dense(y, 4 * width)), width)
            x = x + y * k.weight((width,))
    return k.dense(k.layer_norm(x.mean((-3, -2))), 10)


def u_net(k, x, *, levels=4, width=4):
    """U-Net of 3x3 convolutions, max pools and transposed 2x2 convolutions."""
    bridges = []
    for level in range(levels):
        x = twice(k, x, width * 2**level)
        bridges.append(x)
        x = k.max_pool(x, 2, 2)
    x = twice(k, x, width * 2**levels)
    for level in reversed(range(levels)):
        x = k.conv_transpose(x, width * 2**level, 2, 2)
        x = twice(k, jnp.concatenate([bridges[level], x], -1), width * 2**level)
    return k.conv(x, 3, 1)


def twice(k, x, features):
    x = jax.nn.relu(k.norm(k.conv(x, features, 3)))
    return jax.nn.relu(k.norm(k.conv(x, features, 3)))


def vision_transformer(k, x, *, patch=16, depth=2, width=8, heads=2, position=True):
    """ViT: tokens of patches, a class token, learned positions."""
    x = k.conv(x, width, patch, patch)
    x = x.reshape(*x.shape[:-3], -1, width)
    if position:
        x = x + k.weight((x.shape[-2], width))
    first = jnp.broadcast_to(k.weight((1, width)), (*x.shape[:-2], 1, width))
    x = jnp.concatenate([first, x], -2)
    for _ in range(depth):
        x = x + attention(k, k.layer_norm(x), heads)
        x = x + k.dense(jax.nn.gelu(k.dense(k.layer_norm(x), 4 * width)), width)
    return k.dense(k.layer_norm(x)[..., 0, :], 10)


def attention(k, x, heads, bias=None, mask=None):
    """Self-attention among the tokens of the last axis but one."""
    width = x.shape[-1]
    split = lambda y: jnp.moveaxis(y.reshape(*y.shape[:-1], heads, width // heads), -2, -3)
    q, key, v = (split(k.dense(x, width)) for _ in range(3))
    scores = q @ jnp.swapaxes(key, -1, -2) / (width // heads) ** 0.5
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores + mask
    y = jnp.moveaxis(jax.nn.softmax(scores, -1) @ v, -3, -2)
    return k.dense(y.reshape(x.shape), width)


def swin(k, x, *, depths=(2, 2), width=8, heads=2, window=4, masked=False):
    """Swin: attention in windows, every second time rolled by half of one; patches merge."""
    x = k.layer_norm(k.conv(x, width, 4, 4))
    for stage, depth in enumerate(depths):
        if stage:
            x = merged(k, x)
        for block in range(depth):
            shift = window // 2 if block % 2 and min(x.shape[-3:-1]) > window else 0
            y = jnp.roll(k.layer_norm(x), (-shift, -shift), (-3, -2)) if shift else k.layer_norm(x)
            y = windowed(
                k, y, heads, window, seams(y.shape, window, shift) if masked and shift else None
            )
            x = x + (jnp.roll(y, (shift, shift), (-3, -2)) if shift else y)
            x = x + k.dense(jax.nn.gelu(k.dense(k.layer_norm(x), 4 * x.shape[-1])), x.shape[-1])
    return k.dense(k.layer_norm(x).mean((-3, -2)), 10)


def merged(k, x):
    *batch, height, width, features = x.shape
    x = x.reshape(*batch, height // 2, 2, width // 2, 2, features)
    x = jnp.moveaxis(x, -4, -3).reshape(*batch, height // 2, width // 2, 4 * features)
    return k.dense(k.layer_norm(x), 2 * features)


def windowed(k, x, heads, window, mask):
    *batch, height, width, features = x.shape
    x = x.reshape(*batch, height // window, window, width // window, window, features)
    x = jnp.moveaxis(x, -4, -3)
    shape = x.shape
    x = x.reshape(*shape[:-3], window**2, features)
    x = attention(k, x, heads, k.weight((heads, window**2, window**2)), mask)
    return jnp.moveaxis(x.reshape(shape), -3, -4).reshape(*batch, height, width, features)


def seams(shape, window, shift):
    """Minus infinity between tokens of a window that a roll brought together."""
    height, width = shape[-3:-1]
    cuts = [
        jnp.searchsorted(jnp.array([n - window, n - shift]), jnp.arange(n), side="right")
        for n in (height, width)
    ]
    region = cuts[0][:, None] * 3 + cuts[1][None]
    region = region.reshape(height // window, window, width // window, window)
    region = jnp.moveaxis(region, 2, 1).reshape(height // window, width // window, 1, window**2)
    return jnp.where(region[..., :, None] != region[..., None, :], -100.0, 0.0)


def attention_pool(k, x, *, width=8):
    """Two convolutions, then an average weighted by a softmax over all pixels."""
    x = jax.nn.relu(k.norm(k.conv(x, width, 3, 2)))
    x = jax.nn.relu(k.norm(k.conv(x, width, 3, 2)))
    scores = k.dense(x, 1)
    weights = jnp.exp(scores - scores.max((-3, -2), keepdims=True))
    weights = weights / weights.sum((-3, -2), keepdims=True)
    return k.dense((weights * x).sum((-3, -2)), 10)
