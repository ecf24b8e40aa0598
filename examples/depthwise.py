"""What a depthwise convolution separates, and what that saves.

A full convolution mixes places and channels at once: kernel[a, b, c, o], k·k·C·O numbers. A
depthwise convolution mixes places only, one window per channel; a convolution of window 1 mixes
channels only. One after the other they are a full convolution with the kernel

    kernel[a, b, c, o] = depthwise[a, b, c] · pointwise[c, o],

of rank one for each input channel, with k·k·C + C·O numbers: 1/O + 1/k² of the full one's. Three
questions, each answered by running it:

1. Is the product of the two kernels really the same function? (yes, to rounding)
2. How much does a network lose? Full and separable networks of several widths learn the digits;
   parameters, multiply-adds and test accuracy of each. (Some, at equal width. On images of 64
   pixels a full network a few times narrower does as well for the same cost: the saving pays
   where channels are many and the full network is too dear.)
3. Does a full convolution that was free to choose come out separable? The share of each trained
   kernel that the best kernel of rank one per channel holds.

    python examples/depthwise.py            # writes runs/depthwise/*.png

References:
    Howard et al. 2017, arXiv:1704.04861, section 3.1 (the count); Guo et al. 2018,
    arXiv:1808.05517 (depthwise separable convolutions as the principal components of full ones).
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxconv as jc
from jaxconv import train
from jaxconv.train.data import Dataset, digits

WINDOW = 3
KINDS = ("full", "separable")


def product(depthwise: jax.Array, pointwise: jax.Array) -> jax.Array:
    """The full kernel that a depthwise one (k, k, 1, C) and a pointwise one (1, 1, C, O) make."""
    return jnp.einsum("abxc,xyco->abco", depthwise, pointwise)


def difference_from_product(seed: int) -> float:
    """Question 1: largest difference between two convolutions and the one that they make."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[0], (2, 9, 11, 5))
    depthwise = jax.random.normal(keys[1], (WINDOW, WINDOW, 1, 5))
    pointwise = jax.random.normal(keys[2], (1, 1, 5, 7))
    two = jc.ops.conv(jc.ops.depthwise_conv(x, depthwise), pointwise)
    one = jc.ops.conv(x, product(depthwise, pointwise))
    return float(jnp.abs(two - one).max() / jnp.abs(one).max())


def make_model(kind: str, width: int) -> jc.Layer:
    """Three convolutions, the last two full or separable; the first has one channel to mix."""
    convolve = jc.conv if kind == "full" else jc.separable_conv

    return jc.serial(
        *(jc.conv(width, WINDOW, bias=False), jc.batch_norm(), jax.nn.relu),
        *(convolve(2 * width, WINDOW, bias=False, name="second"), jc.batch_norm(), jax.nn.relu),
        jc.max_pool(2),
        *(convolve(2 * width, WINDOW, bias=False, name="third"), jc.batch_norm(), jax.nn.relu),
        *(jc.global_avg_pool(), jc.dense(10)),
    )


def learn(model: jc.Layer, dataset: Dataset, epochs: int, seed: int):
    """Trains a model; returns its test accuracy and its parameters."""
    batch_size = 64
    steps = epochs * (len(dataset.train_images) // batch_size)
    optimizer = optax.adam(train.warmup_cosine(1e-2, steps))
    loss = optax.softmax_cross_entropy_with_integer_labels
    start = train.init_train_state(model, optimizer, jax.random.key(seed), dataset.train_images[:1])
    result = train.fit(
        start,
        train.make_train_step(model, loss, optimizer),
        dataset,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        progress=False,
        report=lambda line: None,
    )
    predict = jax.jit(train.make_predict(model))
    logits = train.predict_all(predict, result.train_state, dataset.test_images, batch_size=359)
    accuracy = float((logits.argmax(-1) == dataset.test_labels).mean())
    return accuracy, result.train_state.params


def rank_one_share(kernel: np.ndarray) -> np.ndarray:
    """Question 3: per input channel, the share σ₁² / Σ σ² that the best separable kernel holds."""
    matrices = np.asarray(kernel).reshape(WINDOW * WINDOW, *kernel.shape[2:]).transpose(1, 0, 2)
    energies = np.linalg.svd(matrices, compute_uv=False) ** 2
    return energies[:, 0] / energies.sum(-1)


def draw(path: Path, rows: list[dict], shares: dict[str, np.ndarray]) -> None:
    """Accuracy against parameters and against multiply-adds; how separable full kernels are."""
    figure = Figure(figsize=(12, 3.8), layout="constrained", dpi=130)
    left, middle, right = figure.subplots(1, 3)
    costs = {"parameters": left, "multiply_adds": middle}
    for cost, axes in costs.items():
        for kind, marker, offset in (("full", "o", (5, 5)), ("separable", "s", (-6, -12))):
            chosen = [row for row in rows if row["kind"] == kind]
            errors = [100 * (1 - row["accuracy"]) for row in chosen]
            axes.plot([row[cost] for row in chosen], errors, marker=marker, label=kind)
            for row, error in zip(chosen, errors, strict=True):
                side = "left" if offset[0] > 0 else "right"
                style = {"textcoords": "offset points", "ha": side, "fontsize": 8}
                axes.annotate(str(row["width"]), (row[cost], error), offset, **style)
        axes.set_xscale("log")
        axes.set_xlabel(cost.replace("_", "-") + ("" if cost == "parameters" else " an image"))
        axes.set_ylabel("test error (%)")
        axes.set_ylim(bottom=-1)
        axes.margins(x=0.12)
        axes.set_title("the number is the width", fontsize=10)
        axes.legend()
    bins = np.linspace(0, 1, 26)
    for name, share in shares.items():
        right.hist(share, bins, alpha=0.6, label=name, density=True)
    right.set_xlabel("share of a channel's kernel that rank one holds")
    right.set_ylabel("density over input channels")
    right.set_title("how separable a full kernel comes out", fontsize=10)
    right.legend(fontsize=8)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main(
    epochs: int = 8,
    widths: tuple[int, ...] = (8, 16, 32),
    out: str | Path = "runs/depthwise",
    seed: int = 0,
) -> dict[str, float]:
    """Answers the three questions, draws a picture into `out` and returns the numbers."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    dataset = digits(seed=seed)
    metrics = {"difference_from_product": difference_from_product(seed)}
    print("Depthwise then pointwise against the one convolution with the product of the kernels:")
    print(f"  largest difference {metrics['difference_from_product']:.1e}, relative\n")
    print(f"{'network':<20} {'parameters':>10} {'multiply-adds':>14} {'test accuracy':>14}")
    rows, params = [], {}
    for width in widths:
        for kind in KINDS:
            model = make_model(kind, width)
            table = jc.summary(model, jnp.zeros((1, 8, 8, 1)))
            accuracy, params[kind] = learn(model, dataset, epochs, seed)
            cost = {"parameters": table.parameters, "multiply_adds": table.multiply_adds}
            rows.append({"kind": kind, "width": width, "accuracy": accuracy, **cost})
            metrics |= {f"{name}: {kind} {width}": n for name, n in cost.items()}
            metrics[f"accuracy: {kind} {width}"] = accuracy
            name = f"{kind}, width {width}"
            print(f"{name:<20} {cost['parameters']:>10,} {cost['multiply_adds']:>14,}", end=" ")
            print(f"{accuracy:>14.1%}")
    kernel = params["full"]["third"]["kernel"]
    shape = tuple(kernel.shape)
    noise = np.random.default_rng(seed).normal(size=shape)
    shares = {"trained": rank_one_share(kernel), "random": rank_one_share(noise)}
    metrics |= {f"rank_one_share: {name}": float(share.mean()) for name, share in shares.items()}
    print(f"\nThe best separable kernel holds, of the last full kernel {shape},")
    print(
        f"  {shares['trained'].mean():.0%} when trained and {shares['random'].mean():.0%} of noise"
    )
    draw(folder / "depthwise.png", rows, shares)
    print(f"Picture: {folder / 'depthwise.png'}")
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--out", default="runs/depthwise", help="folder for the picture")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.epochs, tuple(arguments.widths), arguments.out, arguments.seed)
