"""From a dense layer to a convolution, one step at a time, each step executed.

A dense layer on an image is a tensor W[i, j, k, l]: output pixel (i, j) sees every input pixel
(k, l) through a weight of its own. Two wishes turn it into a convolution:

1. locality: output (i, j) sees only a window round (i, j), so W[i, j, k, l] = 0 outside it;
   what is left is V[i, j, a, b] = W[i, j, i + a, j + b], a locally connected layer;
2. weight sharing: the window does not know where it is, V[i, j, a, b] = V[a, b]: a convolution.

Each function below computes the same numbers as the one before where the weights allow it, on a
real photo, and only the last commutes with shifts. The table shows what each costs on a
1000 x 1000 RGB image.

    python examples/dense_to_conv.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_sample_image

import jaxconv as jc

REACH = 2  # the window sees REACH pixels to each side


def photo(size: int) -> jax.Array:
    """A real photo as (1, size, size, 1) grays with mean 0."""
    gray = load_sample_image("china.jpg").mean(axis=-1, dtype=np.float32) / 255
    small = jax.image.resize(jnp.asarray(gray), (size, size), "linear")
    return (small - small.mean())[None, :, :, None]


def dense_tensor(key: jax.Array, size: int) -> jax.Array:
    """Weights W[i, j, k, l] of a dense layer from a size x size image to one of the same size."""
    return jax.random.normal(key, (size, size, size, size)) / size


def restrict(weights: jax.Array) -> jax.Array:
    """Locality: W[i, j, k, l] = 0 unless |k - i| <= REACH and |l - j| <= REACH."""
    size = weights.shape[0]
    near = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) <= REACH
    return weights * near[:, None, :, None] * near[None, :, None, :]


def windows(weights: jax.Array) -> jax.Array:
    """The same weights by position and offset: V[i, j, a, b] = W[i, j, i + a, j + b]."""
    size, taps = weights.shape[0], 2 * REACH + 1
    padded = jnp.pad(weights, ((0, 0), (0, 0), (REACH, REACH), (REACH, REACH)))
    rows = jnp.arange(size)[:, None] + jnp.arange(taps)  # k = i + a, moved by the padding
    i, j = jnp.arange(size)[:, None, None, None], jnp.arange(size)[None, :, None, None]
    return padded[i, j, rows[:, None, :, None], rows[None, :, None, :]]


def share(window: jax.Array) -> jax.Array:
    """Weight sharing: the same window V[a, b] in every place (here, the mean of them all)."""
    return jnp.broadcast_to(window.mean((0, 1)), window.shape)


def spread(window: jax.Array) -> jax.Array:
    """Back from windows V[i, j, a, b] to a dense layer's W[i, j, k, l]."""
    size = window.shape[0]
    index = np.arange(size)
    offset = index[None, :] - index[:, None] + REACH  # offset[i, k] = a
    inside = (offset >= 0) & (offset <= 2 * REACH)
    a = np.clip(offset, 0, 2 * REACH)
    i, j = index[:, None, None, None], index[None, :, None, None]
    full = window[i, j, a[:, None, :, None], a[None, :, None, :]]
    return full * inside[:, None, :, None] * inside[None, :, None, :]


def as_dense(weights: jax.Array, x: jax.Array) -> jax.Array:
    """y[i, j] = Σ_{k, l} W[i, j, k, l] · x[k, l]: flatten, one matrix product, reshape."""
    size = x.shape[1]
    y = x.reshape(1, size * size) @ weights.reshape(size * size, size * size).T
    return y.reshape(x.shape)


def as_local(window: jax.Array, x: jax.Array) -> jax.Array:
    """y[i, j] = Σ_{a, b} V[i, j, a, b] · x[i + a, j + b]."""
    return jc.ops.local_conv(x, window[..., None, None], padding=REACH)


def as_conv(window: jax.Array, x: jax.Array) -> jax.Array:
    """y[i, j] = Σ_{a, b} V[a, b] · x[i + a, j + b]."""
    return jc.ops.conv(x, window[0, 0, :, :, None, None], padding=REACH)


def difference(a: jax.Array, b: jax.Array) -> float:
    """Largest difference, relative to the largest value of a."""
    return float(jnp.abs(a - b).max() / jnp.abs(a).max())


def shift_error(f, x: jax.Array) -> float:
    """How far f is from commuting with a shift by one pixel, away from the border."""
    moved = jnp.roll(f(x), 1, axis=2)
    inside = slice(REACH + 1, -REACH - 1)
    return difference(moved[:, inside, inside], f(jnp.roll(x, 1, axis=2))[:, inside, inside])


def parameter_counts() -> list[tuple[str, int]]:
    """Parameters on a 1000 x 1000 RGB image; shapes only, nothing is allocated."""
    image = jax.ShapeDtypeStruct((1, 1000, 1000, 3), jnp.float32)
    taps = 2 * REACH + 1
    models = {
        "dense, 1,000 neurons": jc.serial(jc.flatten(), jc.dense(1000)),
        "dense, one neuron a pixel": jc.serial(jc.flatten(), jc.dense(1000 * 1000)),
        f"local {taps}x{taps}, one map": jc.local_conv(1, taps),
        f"conv {taps}x{taps}, one map": jc.conv(1, taps),
        f"conv {taps}x{taps}, 32 maps": jc.conv(32, taps),
        f"depthwise {taps}x{taps}": jc.depthwise_conv(taps),
    }
    return [(name, jc.summary(model, image).parameters) for name, model in models.items()]


def main(size: int = 24) -> dict[str, float]:
    """Runs the derivation on a photo of `size` x `size` pixels and prints what it finds."""
    x = photo(size)
    dense = dense_tensor(jax.random.key(0), size)
    local = windows(restrict(dense))
    shared = share(local)
    metrics = {
        "dense_vs_local": difference(as_dense(dense, x), as_local(local, x)),
        "restricted_vs_local": difference(as_dense(restrict(dense), x), as_local(local, x)),
        "local_vs_conv": difference(as_local(local, x), as_conv(shared, x)),
        "shared_local_vs_conv": difference(as_local(shared, x), as_conv(shared, x)),
        "shared_dense_vs_conv": difference(as_dense(spread(shared), x), as_conv(shared, x)),
        "shift_error_dense": shift_error(lambda x: as_dense(dense, x), x),
        "shift_error_local": shift_error(lambda x: as_local(local, x), x),
        "shift_error_conv": shift_error(lambda x: as_conv(shared, x), x),
    }
    print(f"A {size} x {size} photo, windows of {2 * REACH + 1} x {2 * REACH + 1}.\n")
    print("Largest difference between two steps, relative to the largest output:")
    print(f"  dense             vs local    {metrics['dense_vs_local']:9.1e}  (far weights lost)")
    print(f"  dense, restricted vs local    {metrics['restricted_vs_local']:9.1e}  (equal)")
    print(f"  local             vs conv     {metrics['local_vs_conv']:9.1e}  (places forgotten)")
    print(f"  local, shared     vs conv     {metrics['shared_local_vs_conv']:9.1e}  (equal)")
    print(f"  dense, both       vs conv     {metrics['shared_dense_vs_conv']:9.1e}  (equal)")
    print("\nf(shifted photo) against shifted f(photo), away from the border:")
    for name in ("dense", "local", "conv"):
        error = metrics[f"shift_error_{name}"]
        print(f"  {name:<5} {error:9.1e}  {'commutes' if error < 1e-5 else 'does not commute'}")
    print("\nParameters on a 1000 x 1000 RGB image (biases included):")
    for name, count in parameter_counts():
        print(f"  {name:<26} {count:>21,}")
        metrics[f"parameters: {name}"] = count
    return metrics


if __name__ == "__main__":
    main()
