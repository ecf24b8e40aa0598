"""When locality and weight sharing are the wrong assumption: labels that depend on position.

A digit is put on a canvas, and shifted circularly by any number of pixels. Two questions about the
same images:

- where: which quarter of the canvas holds it? The answer changes with the shift. A network of
  circular convolutions and global pooling gives one answer for all shifts, so whatever its weights,
  it is right in one case of four: chance. No training helps.
- which: which digit is it? The answer does not change with the shift, and the same network needs to
  see a digit in one place only to know it in all of them. A dense network has to learn every place.

What repairs "where" is whatever tells places apart: a dense layer instead of pooling, two input
channels that hold the coordinates, and even zero padding, whose border a deep enough network sees.
What repairs it costs the invariance that "which" profits from: measured below.

    python examples/locality_fails.py            # writes runs/locality_fails/*.png

References:
    Liu et al. 2018, "An intriguing failing of convolutional neural networks and the CoordConv
    solution", arXiv:1807.03247 (coordinate channels); Kayhan and van Gemert 2020, "On translation
    invariance in CNNs", arXiv:2003.07064 (zero padding gives position away).
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import jaxconv as jc
from jaxconv import train
from jaxconv.train.data import Dataset, digits

SIZE = 12  # of the canvas
DIGIT = 8
QUESTIONS = {"where": "where is the digit?", "which": "which digit is it?"}
NETWORKS = ("conv, circular", "conv, zero padding", "conv, coordinates", "dense")
QUARTERS = ("top left", "top right", "bottom left", "bottom right")


def quarter(shifts: np.ndarray) -> np.ndarray:
    """The quarter that holds the middle of a digit shifted by (rows, columns)."""
    row, column = ((shifts + DIGIT // 2) % SIZE // (SIZE // 2)).T
    return 2 * row + column


def place(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Each (8, 8, 1) digit on a canvas, shifted circularly."""
    canvas = np.zeros((len(images), SIZE, SIZE, 1), np.uint8)
    canvas[:, :DIGIT, :DIGIT] = images
    pairs = zip(canvas, shifts, strict=True)
    return np.stack([np.roll(image, shift, (0, 1)) for image, shift in pairs])


def make_datasets(copies: int, seed: int) -> dict[str, Dataset]:
    """The two questions, "where" and "which", about the same placed digits."""
    source, rng = digits(seed=seed), np.random.default_rng(seed)
    images = np.repeat(source.train_images, copies, 0)
    which = np.repeat(source.train_labels, copies)
    shifts = rng.integers(0, SIZE, (len(images), 2))
    test_shifts = rng.integers(0, SIZE, (len(source.test_images), 2))
    train_images, test_images = place(images, shifts), place(source.test_images, test_shifts)
    where = Dataset(
        train_images=train_images,
        train_labels=quarter(shifts).astype(np.int32),
        test_images=test_images,
        test_labels=quarter(test_shifts).astype(np.int32),
        classes=QUARTERS,
        name="where",
    )
    return {
        "where": where,
        "which": Dataset(
            train_images, which, test_images, source.test_labels, source.classes, "which"
        ),
    }


def add_coordinates(x: jax.Array) -> jax.Array:
    """Appends two channels that hold the row and the column of every pixel, from -1 to 1."""
    ramp = jnp.linspace(-1, 1, SIZE, dtype=x.dtype)
    grid = jnp.stack(jnp.meshgrid(ramp, ramp, indexing="ij"), -1)
    return jnp.concatenate([x, jnp.broadcast_to(grid, (*x.shape[:-1], 2))], -1)


def make_model(name: str, classes: int) -> jc.Layer:
    """One of NETWORKS; the first three are the same but for padding and input."""

    def convolutional(padding_mode: str, *first) -> jc.Layer:
        block = lambda features: (
            jc.conv(features, 3, padding_mode=padding_mode),
            jc.batch_norm(),
            jax.nn.relu,
        )
        return jc.serial(
            *first,
            *(*block(8), *block(16), *block(16)),
            *(jc.global_avg_pool(), jc.dense(64), jax.nn.relu, jc.dense(classes)),
        )

    if name == "dense":
        hidden = (jc.dense(128), jax.nn.relu, jc.dense(64), jax.nn.relu)
        return jc.serial(jc.flatten(), *hidden, jc.dense(classes))
    if name == "conv, coordinates":
        return convolutional("circular", add_coordinates)
    return convolutional("zeros" if name == "conv, zero padding" else "circular")


def learn(model: jc.Layer, dataset: Dataset, epochs: int, seed: int):
    """Trains a model; returns its test accuracy and the function from images to logits."""
    batch_size = 128
    steps = max(1, epochs * (len(dataset.train_images) // batch_size))
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
    now, predict = result.train_state, jax.jit(train.make_predict(model))
    logits = train.predict_all(predict, now, dataset.test_images, batch_size=SIZE * SIZE)
    accuracy = float((logits.argmax(-1) == dataset.test_labels).mean())
    return accuracy, lambda images: predict(now.params, now.state, images)


def draw(path: Path, dataset: Dataset, accuracies: dict, answers: dict[str, np.ndarray]) -> None:
    """Examples with their answers; the accuracies; what each network says wherever the digit is."""
    figure = Figure(figsize=(12, 6), layout="constrained", dpi=130)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    left, right = above.subfigures(1, 2, width_ratios=(1, 1.25))
    for axes, image, label in zip(
        left.subplots(2, 3).flat, dataset.test_images, dataset.test_labels, strict=False
    ):
        axes.imshow(image[..., 0], cmap="gray")
        axes.axhline(SIZE / 2 - 0.5, color="orange", linewidth=0.8)
        axes.axvline(SIZE / 2 - 0.5, color="orange", linewidth=0.8)
        axes.set_title(QUARTERS[label], fontsize=8)
        axes.set_axis_off()
    axes = right.subplots()
    names = list(accuracies["where"])
    places = np.arange(len(names))
    for offset, question, chance in ((-0.2, "where", 0.25), (0.2, "which", 0.1)):
        heights = [100 * accuracies[question][name] for name in names]
        bars = axes.bar(places + offset, heights, 0.38, label=QUESTIONS[question])
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
        color = bars.patches[0].get_facecolor()
        axes.axhline(100 * chance, color=color, linestyle=":", label=f"chance, {question}")
    axes.set_xticks(places, names, fontsize=8)
    axes.set_ylabel("test accuracy (%)")
    axes.set_ylim(0, 135)
    axes.set_yticks(range(0, 101, 20))
    axes.legend(ncols=2, fontsize=8, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    below.suptitle("Where is the digit? Each answer for one digit in every place", fontsize=11)
    for axes, (name, answer) in zip(below.subplots(1, len(answers)), answers.items(), strict=True):
        drawn = axes.imshow(answer, cmap="viridis", vmin=0, vmax=3)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("columns shifted", fontsize=8)
        axes.set_ylabel("rows shifted", fontsize=8)
    patches = [Patch(color=drawn.to_rgba(label), label=QUARTERS[label]) for label in range(4)]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=9)
    figure.savefig(path)


def main(
    epochs: int = 6,
    copies: int = 2,
    out: str | Path = "runs/locality_fails",
    seed: int = 0,
    networks: tuple[str, ...] = NETWORKS,
) -> dict[str, float]:
    """Trains the networks on both questions, draws a picture into `out`, returns the numbers."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    datasets = make_datasets(copies, seed)
    rows, columns = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    shifts = np.stack([rows.ravel(), columns.ravel()], -1)
    everywhere = place(np.repeat(digits(seed=seed).test_images[-1:], SIZE * SIZE, 0), shifts)
    answers = {"truth": quarter(shifts).reshape(SIZE, SIZE)}
    accuracies, metrics = {question: {} for question in datasets}, {}
    print(f"{'test accuracy':<20} {'where':>7} {'which':>7}   change of the answer over shifts")
    for name in networks:
        for question, dataset in datasets.items():
            model = make_model(name, len(dataset.classes))
            accuracies[question][name], predict = learn(model, dataset, epochs, seed)
            metrics[f"{question}: {name}"] = accuracies[question][name]
            if question == "where":
                logits = np.asarray(predict(everywhere))
                answers[name] = logits.argmax(-1).reshape(SIZE, SIZE)
                change = float(np.ptp(logits, 0).max() / np.abs(logits).max())
                metrics[f"change: {name}"] = change
        where, which = (f"{accuracies[question][name]:7.1%}" for question in datasets)
        print(f"{name:<20} {where} {which}   {change:.1e}")
    print("chance                 25.0%   10.0%")
    draw(folder / "locality_fails.png", datasets["where"], accuracies, answers)
    print(f"Picture: {folder / 'locality_fails.png'}")
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--copies", type=int, default=2, help="places of each training digit")
    parser.add_argument("--out", default="runs/locality_fails", help="folder for the picture")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.epochs, arguments.copies, arguments.out, arguments.seed)
