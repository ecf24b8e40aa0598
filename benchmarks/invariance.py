"""Logits of polyphase ResNets under all 1,024 circular shifts, in three dtypes.

    eps_inf = max over shifts t of |f(T_t x) - f(x)| / max |f|

Parameters are random, or those that `examples/shift_invariance_cifar.py` trained and saved; they
are cast to the dtype, as the images are. The negative control is the same network with strides in
place of adaptive sampling, with the same parameters, under a few shifts.
"""

import argparse
import functools
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxconv as jc
from benchmarks import _machine
from jaxconv import train
from jaxconv.equivariance import circular_shift, consistency
from jaxconv.train import data

BARS = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 2e-2}
CONTROL = 1e-2
ODD = np.array([(0, 0), (0, 1), (1, 0), (3, 5)])


def pictures(folder: str | None, count: int) -> np.ndarray:
    """Test images of a folder, from one class after the other, normalized; else random ones."""
    if folder is None:
        return np.random.default_rng(0).standard_normal((count, 32, 32, 3))
    found = data.image_folder(folder, limit_per_class=20)
    mean, deviation = data.channel_statistics(found.train_images)
    apart = np.argsort(np.arange(len(found.test_labels)) % 20, kind="stable")[:count]
    x = jnp.asarray(found.test_images[apart])
    return np.asarray(data.normalize(x, mean=mean, deviation=deviation))


def parameters(model: jc.Layer, weights: str | None, dtype: Any) -> tuple[Any, Any]:
    """Parameters and state in the dtype: of a file, or random."""
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    if weights is None:
        trees = jax.jit(lambda key: model.init(key, x))(jax.random.key(1))
    else:
        trees = train.checkpoint.load(weights, jax.eval_shape(model.init, jax.random.key(1), x))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), trees)


def logits(model: jc.Layer, trees: tuple[Any, Any], x: jax.Array) -> jax.Array:
    return model.apply(*trees, x)[0]


def measure(
    depth: int, dtype: str, weights: str | None, images: np.ndarray
) -> Iterator[tuple[str, ...]]:
    """Rows of the table: of the network, and of its control."""
    which = "random" if weights is None else f"trained ({pathlib.Path(weights).stem})"
    jax.config.update("jax_enable_x64", dtype == "float64")
    x = jnp.asarray(images, dtype)
    for name, exact in (("polyphase", True), ("strides", False)):
        down = jc.polyphase_down if exact else None
        model = jc.models.resnet(depth, 10, stem="cifar", padding_mode="circular", down=down)
        f = functools.partial(logits, model, parameters(model, weights, dtype))
        began = time.perf_counter()
        found = consistency(f, x, action=circular_shift("all" if exact else ODD), chunk=16)
        bar = f"≤ {BARS[dtype]:.0e}" if exact else f"> {CONTROL:.0e}"
        met = found.change <= BARS[dtype] if exact else found.change > CONTROL
        flips = int((found.predictions != found.predictions[0]).sum())
        yield (
            f"ResNet-{depth}, {which}, {name}", dtype, str(len(x)), f"{found.shifts:,}",
            f"{found.change:.1e}", bar, "yes" if met else "no", str(flips),
            f"{found.margin:.1e}", str(found.ties), f"{time.perf_counter() - began:.0f} s",
        )  # fmt: skip


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks invariance", description=__doc__)
    parser.add_argument("--depth", type=int, nargs="+", default=[20, 18])
    parser.add_argument("--dtype", nargs="+", choices=tuple(BARS), default=list(BARS))
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--folder", help="of images, as train/CLASS and test/CLASS")
    parser.add_argument("--weights", help="file of one depth that the example saved")
    options = parser.parse_args(argv)
    print(_machine.describe() + "\n")
    images = pictures(options.folder, options.images)
    head = ("network", "dtype", "images", "shifts", "eps_inf", "bar", "met", "flips", "margin",
            "ties", "time")  # fmt: skip
    rows = []
    for depth in options.depth:
        for dtype in options.dtype:
            for row in measure(depth, dtype, options.weights, images):
                rows.append(row)
                print(*row, sep="  ", flush=True)
    print("\n" + _machine.table(head, rows))
