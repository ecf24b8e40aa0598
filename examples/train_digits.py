"""Trains a small convolutional network on 1,797 real handwritten digits, without a download.

    pip install -e ".[examples]" && python examples/train_digits.py

Full and depthwise convolutions on a circle, batch norm, one max pool, and an average over the
plane. After training it says how accurate the network is, how far each part is from commuting with
shifts, and for how many test digits the prediction survives all 64 circular shifts. What it leaves
in runs/digits/: config.json, metrics.jsonl, params.safetensors, and pictures.
"""

import argparse
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxconv as jc
from jaxconv import equivariance, plots, train
from jaxconv.train import data, metrics, run_folder

EXPECTED = "98.6 %"  # mean test accuracy of seeds 0 to 4, which reach from 98.1 to 98.9 %


def parts() -> dict[str, Any]:
    """The network, part by part."""
    on_a_circle = {"padding_mode": "circular", "bias": False}

    def block(features: int) -> jc.Layer:
        depthwise, conv = jc.depthwise_conv(3, **on_a_circle), jc.conv(features, 1, bias=False)
        return jc.serial(depthwise, conv, jc.batch_norm(), jax.nn.relu)

    return {
        "stem": jc.serial(jc.conv(32, 3, **on_a_circle), jc.batch_norm(), jax.nn.relu),
        "block_1": block(64),
        "pool": jc.max_pool(2),
        "block_2": block(128),
        "block_3": block(128),
        "average": jc.global_avg_pool(),
        "dense": jc.dense(10),
    }


def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy against labels that leave a tenth to the other classes."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 10), 0.1)
    return optax.softmax_cross_entropy(logits, targets)


def augment(key: jax.Array, batch: train.Batch) -> train.Batch:
    """Rolls every digit by a random shift."""
    changes = (data.circular_shift,)
    images = data.augment(key, batch.epoch, batch.indices, batch.images, changes)
    return batch._replace(images=images)


def shift_errors(state: train.TrainState, x: jax.Array) -> tuple[dict[str, float], jax.Array]:
    """Prints how far every part is from commuting with shifts; returns that and the first maps."""
    print("\npart        under a shift, its output   largest error   shifts obeyed")
    errors, maps = {}, x
    for name, layer in list(parts().items())[:-1]:  # nothing is left to shift before the last
        params, memory = state.params.get(name, {}), state.state.get(name, {})
        function = lambda x, a=layer.apply, p=params, s=memory: a(p, s, x)[0]
        error = equivariance.shift_error(function, x, border=0)
        law = "moves along" if error.worst_leaf.law == "equivariant" else "stays"
        obeyed = f"{int(error.obeys.sum())} of {len(error.elements)}"
        print(f"{name:10}  {law:26}  {error.worst:13.1e}   {obeyed:>13}")
        x = function(x)
        errors[name] = error.worst
        maps = x if name == "stem" else maps
    return errors, maps


def draw(
    run: Path, fitted: train.Fit, dataset: data.Dataset, maps: jax.Array, logits: np.ndarray
) -> None:
    """Leaves pictures of how training went, what was learned, and where it fails."""
    images, labels, classes = dataset.test_images, dataset.test_labels, dataset.classes
    probabilities = metrics.softmax(logits)
    counts = metrics.confusion_matrix(labels, logits.argmax(-1), len(classes))
    kernel = fitted.train_state.params["stem"]["conv"]["kernel"]
    pictures = {
        "curves": plots.curves(fitted.history, fitted.steps),
        "confusion": plots.confusion(counts, classes),
        "filters": plots.filters(kernel),
        "feature_maps": plots.feature_maps(images[0], maps[0], title="Maps behind the stem"),
        "mistakes": plots.mistakes(images, labels, probabilities, classes),
    }
    for name, axes in pictures.items():
        run_folder.save_picture(run, name, axes)


def draw_shifts(run: Path, dataset: data.Dataset, probabilities: np.ndarray) -> None:
    """Leaves pictures of what happens when the digits move, of the one that minds most first."""
    labels = dataset.test_labels
    hits = (probabilities.argmax(-1) == labels).mean((0, 1))
    digit = int(np.abs(hits - 0.5).argmin())
    axes = plots.prediction_under_shifts(
        dataset.test_images[digit], probabilities[:, :, digit], labels[digit], dataset.classes
    )
    run_folder.save_picture(run, "prediction_under_shifts", axes)
    axes = plots.accuracy_under_shifts(probabilities, labels)
    run_folder.save_picture(run, "accuracy_under_shifts", axes)


def main(
    *,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 0.01,
    seed: int = 0,
    out: str | Path = "runs/digits",
    progress: bool = True,
) -> dict[str, Any]:
    """Trains, evaluates, draws; returns what it measured."""
    config = {"epochs": epochs, "batch_size": batch_size, "lr": learning_rate, "seed": seed}
    run = run_folder.create(out, config)
    dataset = data.digits()
    mean, deviation = data.channel_statistics(dataset.train_images)
    prepare = functools.partial(data.normalize, mean=mean, deviation=deviation)

    model = jc.serial(**parts())
    steps = epochs * (len(dataset.train_images) // batch_size)
    schedule = train.warmup_cosine(learning_rate, steps)
    optimizer = optax.adamw(schedule, weight_decay=0.01, mask=train.decays)
    step = train.make_train_step(model, loss, optimizer, prepare=prepare, augment=augment)
    eval_step = train.make_eval_step(model, loss, prepare=prepare)
    start = train.init_train_state(model, optimizer, jax.random.key(seed), dataset.train_images)

    fitted = train.fit(
        start, step, dataset, epochs=epochs, batch_size=batch_size, seed=seed, eval_step=eval_step,
        learning_rate=schedule, run=run, progress=progress,
    )  # fmt: skip
    state = fitted.train_state
    predict = jax.jit(train.make_predict(model, prepare=prepare))
    classify = functools.partial(predict, state.params, state.state)
    shifted = train.probabilities_under_shifts(classify, dataset.test_images)
    logits = train.predict_all(predict, state, dataset.test_images, batch_size=batch_size)
    errors, maps = shift_errors(state, prepare(dataset.test_images[:8]))
    draw(run, fitted, dataset, maps, logits)
    draw_shifts(run, dataset, shifted)

    accuracy = float((logits.argmax(-1) == dataset.test_labels).mean())
    survivors = metrics.surviving_share(shifted)
    print(f"\ntest accuracy      {100 * accuracy:6.2f} %   expected {EXPECTED}")
    print(f"predictions that survive all 64 circular shifts {100 * survivors:6.2f} %")
    print(f"pictures, parameters and metrics are in {run}")
    return {"accuracy": accuracy, "survivors": survivors, "shift_errors": errors, "run": str(run)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", dest="batch_size", type=int, default=64, help="images a step")
    parser.add_argument("--lr", dest="learning_rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/digits", help="folder of the run")
    main(**vars(parser.parse_args()))
