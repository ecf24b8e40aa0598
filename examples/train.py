"""Trains any of the models on any of the data sets.

    python examples/train.py --model lenet --data mnist --epochs 3
    python examples/train.py --model resnet20 --data cifar10 --epochs 30 --batch 128 --lr 0.1

Without --data-dir, MNIST and CIFAR are downloaded once into ~/.cache/jaxconv. What a run leaves in
its folder: config.json, metrics.jsonl, params.safetensors, curves and a confusion matrix.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxconv as jc
from jaxconv import plots, train
from jaxconv.train import data, metrics, run_folder

MODELS: dict[str, Callable[[int], jc.Layer]] = {
    "lenet": jc.models.lenet,
    "resnet20": lambda classes: jc.models.resnet(20, classes),
    "resnet56": lambda classes: jc.models.resnet(56, classes),
    "resnet18": lambda classes: jc.models.resnet(18, classes, stem="cifar"),
    "resnet50": lambda classes: jc.models.resnet(50, classes),
    "mobilenet_v2": lambda classes: jc.models.mobilenet_v2(classes, stem="cifar"),
    "convnext": lambda classes: jc.models.convnext("tiny", classes, patch=2),
}
DATA = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "folder")
PHOTOS = ("cifar10", "cifar100", "folder")  # flipped and cropped at random


def load(name: str, data_dir: str | None, size: int, limit: int | None) -> data.Dataset:
    """The data set `name`; "folder" reads data_dir/train/<class>/*.png|jpg and data_dir/test."""
    if name == "digits":
        return data.digits()
    if name == "folder":
        if data_dir is None:
            raise SystemExit("train.py: --data folder needs --data-dir, the folder with train/.")
        return data.image_folder(data_dir, size=size, limit_per_class=limit)
    loaders = {
        "mnist": data.mnist,
        "fashion_mnist": data.fashion_mnist,
        "cifar10": data.cifar10,
        "cifar100": data.cifar100,
    }
    return loaders[name](data_dir, download=data_dir is None)


def augment(key: jax.Array, batch: train.Batch) -> train.Batch:
    """Flips and crops every image at random."""
    changes = (data.flip, data.pad_and_crop)
    images = data.augment(key, batch.epoch, batch.indices, batch.images, changes)
    return batch._replace(images=images)


def main(
    *,
    model: str = "lenet",
    dataset: str = "digits",
    data_dir: str | None = None,
    epochs: int = 3,
    batch_size: int = 64,
    learning_rate: float = 0.002,
    seed: int = 0,
    precision: str = "float32",
    size: int = 32,
    limit: int | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains, evaluates, draws; returns the test accuracy and the images per second."""
    config = {name: value for name, value in locals().items() if name != "progress"}
    run = run_folder.create(out or f"runs/{model}-{dataset}", config)
    images = load(dataset, data_dir, size, limit)
    mean, deviation = data.channel_statistics(images.train_images)
    prepare = functools.partial(data.normalize, mean=mean, deviation=deviation)

    network = MODELS[model](len(images.classes))
    steps = epochs * (len(images.train_images) // batch_size)
    schedule = train.warmup_cosine(learning_rate, steps)
    optimizer = optax.adamw(schedule, weight_decay=0.01, mask=train.decays)
    loss = optax.softmax_cross_entropy_with_integer_labels
    step = train.make_train_step(
        network, loss, optimizer, prepare=prepare, precision=precision,
        augment=augment if dataset in PHOTOS else None,
    )  # fmt: skip
    eval_step = train.make_eval_step(network, loss, prepare=prepare)
    start = train.init_train_state(network, optimizer, jax.random.key(seed), images.train_images)
    fitted = train.fit(
        start, step, images, epochs=epochs, batch_size=batch_size, seed=seed, eval_step=eval_step,
        learning_rate=schedule, run=run, progress=progress,
    )  # fmt: skip

    predict = jax.jit(train.make_predict(network, prepare=prepare))
    logits = train.predict_all(
        predict, fitted.train_state, images.test_images, batch_size=batch_size
    )
    counts = metrics.confusion_matrix(images.test_labels, logits.argmax(-1), len(images.classes))
    run_folder.save_picture(run, "curves", plots.curves(fitted.history, fitted.steps))
    run_folder.save_picture(run, "confusion", plots.confusion(counts, images.classes))
    accuracy = float(np.mean(logits.argmax(-1) == images.test_labels))
    speed = float(np.median([record["images_per_second"] for record in fitted.history]))
    print(f"\n{model} on {images.name}: test accuracy {100 * accuracy:.2f} %, {speed:.0f} images/s")
    print(f"pictures, parameters and metrics are in {run}")
    return {"accuracy": accuracy, "images_per_second": speed, "run": str(run)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--data", dest="dataset", choices=DATA, default="digits")
    parser.add_argument("--data-dir", help="folder with the files; nothing is downloaded then")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", dest="batch_size", type=int, default=64, help="images a step")
    parser.add_argument("--lr", dest="learning_rate", type=float, default=0.002)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--size", type=int, default=32, help="pixels per side, for a folder")
    parser.add_argument("--limit", type=int, help="images per class, for a folder")
    parser.add_argument("--out", help="folder of the run (default runs/MODEL-DATA)")
    main(**vars(parser.parse_args()))
