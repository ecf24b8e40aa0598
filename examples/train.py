"""Trains any model of the library on any data set it loads.

    python examples/train.py --model lenet --data mnist --data-dir ~/mnist --epochs 3
    python examples/train.py --model resnet20 --data cifar10 --download --epochs 20
    python examples/train.py --model resnet20 --data folder --data-dir ~/photos --limit 5000

The learning rate warms up in a line and falls along a cosine; kernels decay, biases and scales do
not; color images are flipped, and padded and cropped. Everything lands in one folder: config.json,
metrics.jsonl, params.safetensors, pictures.
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
    "resnet18": functools.partial(jc.models.resnet, 18),
    "resnet20": functools.partial(jc.models.resnet, 20),
    "resnet50": functools.partial(jc.models.resnet, 50),
    "resnet56": functools.partial(jc.models.resnet, 56),
    "mobilenet_v2": jc.models.mobilenet_v2,
    "convnext": functools.partial(jc.models.convnext, "tiny"),
}
DATA: dict[str, Callable[..., data.Dataset]] = {
    "digits": lambda data_dir, download: data.digits(),
    "mnist": data.mnist,
    "fashion_mnist": data.fashion_mnist,
    "cifar10": data.cifar10,
    "cifar100": data.cifar100,
    "folder": lambda data_dir, download: data.image_folder(data_dir),
}
LOSS = optax.softmax_cross_entropy_with_integer_labels


def pick(argument: str, name: str, choices: dict[str, Any]) -> Any:
    """The entry of that name, or an error that lists the names."""
    if name not in choices:
        raise ValueError(
            f"train: {argument} is unknown; expected one of {', '.join(choices)}. "
            f"Got {argument}={name!r}. Use {argument}={next(iter(choices))!r}, say."
        )
    return choices[name]


def load(
    name: str, data_dir: str | None, limit: int | None, seed: int, *, download: bool
) -> data.Dataset:
    """A data set, or at most `limit` images of each split, drawn at random."""
    if name == "folder" and data_dir is None:
        raise ValueError(
            "train: a folder of images has no place of its own; expected a folder with train/ and "
            "test/. Got data_dir=None. Pass --data-dir FOLDER."
        )
    dataset = pick("data", name, DATA)(data_dir, download=download)
    if limit is None:
        return dataset
    first = data.order(seed, 0, len(dataset.train_labels))[:limit]
    test = data.order(seed, 0, len(dataset.test_labels))[:limit]
    return dataset._replace(
        train_images=dataset.train_images[first],
        train_labels=dataset.train_labels[first],
        test_images=dataset.test_images[test],
        test_labels=dataset.test_labels[test],
    )


def augmentation(dataset: data.Dataset) -> train.step.Augment | None:
    """Flips and crops of color images; digits and letters have no mirror images."""
    if dataset.train_images.shape[-1] != 3:
        return None
    pixels = max(1, dataset.train_images.shape[1] // 8)
    changes = (data.flip, functools.partial(data.pad_and_crop, padding=pixels))

    def augment(key, batch):
        images = data.augment(key, batch.epoch, batch.indices, batch.images, changes)
        return batch._replace(images=images)

    return augment


def first_kernel(params: Any, channels: int) -> np.ndarray | None:
    """The kernel of the convolution that sees the image, if the model has one."""
    found = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if leaf.ndim == 4 and leaf.shape[2] == channels
    }
    stems = [leaf for path, leaf in found.items() if "stem" in path]
    return next(iter([*stems, *found.values()]), None)


def draw(run: Path, fitted: train.Fit, dataset: data.Dataset, logits: np.ndarray) -> None:
    """Leaves pictures of how training went, what was learned, and where it fails."""
    images, labels, classes = dataset.test_images, dataset.test_labels, dataset.classes
    counts = metrics.confusion_matrix(labels, logits.argmax(-1), len(classes))
    mistakes = plots.mistakes(images, labels, metrics.softmax(logits), classes)
    run_folder.save_picture(run, "curves", plots.curves(fitted.history, fitted.steps))
    run_folder.save_picture(run, "confusion", plots.confusion(counts, classes))
    run_folder.save_picture(run, "mistakes", mistakes)
    kernel = first_kernel(fitted.train_state.params, images.shape[-1])
    if kernel is not None:
        run_folder.save_picture(run, "filters", plots.filters(kernel))


def draw_shifts(
    run: Path, classify: Callable[[Any], jax.Array], dataset: data.Dataset, count: int
) -> float:
    """Leaves a picture of one image under every shift; returns the share that survives."""
    images, labels = dataset.test_images[:count], dataset.test_labels[:count]
    probabilities = train.probabilities_under_shifts(classify, images)
    hits = (probabilities.argmax(-1) == labels).mean((0, 1))
    one = int(np.abs(hits - 0.5).argmin())  # the image that minds shifts most
    axes = plots.prediction_under_shifts(
        images[one], probabilities[:, :, one], int(labels[one]), dataset.classes
    )
    run_folder.save_picture(run, "prediction_under_shifts", axes)
    return metrics.surviving_share(probabilities)


def evaluate(
    run: Path,
    predict: Callable[..., jax.Array],
    fitted: train.Fit,
    dataset: data.Dataset,
    batch_size: int,
    shift_images: int,
) -> dict[str, Any]:
    """What the network does on test images, in numbers and pictures."""
    state = fitted.train_state
    logits = train.predict_all(predict, state, dataset.test_images, batch_size=batch_size)
    draw(run, fitted, dataset, logits)
    accuracy = float((logits.argmax(-1) == dataset.test_labels).mean())
    print(f"\ntest accuracy {100 * accuracy:.2f} %")
    result = {"accuracy": accuracy, "run": str(run), "history": fitted.history}
    if shift_images:
        classify = functools.partial(predict, state.params, state.state)
        result["survivors"] = draw_shifts(run, classify, dataset, shift_images)
        share = f"{100 * result['survivors']:.0f} % of {shift_images}"
        print(f"predictions that survive every circular shift: {share}")
    print(f"pictures, parameters and metrics are in {run}")
    return result


def main(
    *,
    model: str = "lenet",
    data_name: str = "mnist",
    data_dir: str | None = None,
    download: bool = False,
    epochs: int = 3,
    batch_size: int = 64,
    learning_rate: float = 0.003,
    weight_decay: float = 0.01,
    seed: int = 0,
    precision: str = "float32",
    limit: int | None = None,
    shift_images: int = 16,
    out: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains, evaluates, draws; returns what it measured."""
    config = dict(locals())
    make = pick("model", model, MODELS)
    dataset = load(data_name, data_dir, limit, seed, download=download)
    config["data_sha256"] = run_folder.fingerprint(*dataset[:4])
    run = run_folder.create(out or Path("runs") / f"{data_name}-{model}", config)
    mean, deviation = data.channel_statistics(dataset.train_images)
    prepare = functools.partial(data.normalize, mean=mean, deviation=deviation)

    network = make(classes=len(dataset.classes))
    schedule = train.warmup_cosine(
        learning_rate, epochs * (len(dataset.train_images) // batch_size)
    )
    optimizer = optax.adamw(schedule, weight_decay=weight_decay, mask=train.decays)
    step = train.make_train_step(
        network, LOSS, optimizer, prepare=prepare, augment=augmentation(dataset),
        precision=precision,
    )  # fmt: skip
    eval_step = train.make_eval_step(network, LOSS, prepare=prepare, precision=precision)
    start = train.init_train_state(network, optimizer, jax.random.key(seed), dataset.train_images)
    count = sum(leaf.size for leaf in jax.tree.leaves(start.params))
    print(f"{model}: {count:,} parameters; {dataset.name}: {len(dataset.train_images):,} images")

    fitted = train.fit(
        start, step, dataset, epochs=epochs, batch_size=batch_size, seed=seed, eval_step=eval_step,
        learning_rate=schedule, run=run, progress=progress,
    )  # fmt: skip
    if fitted.interrupted:
        return {"run": str(run), "interrupted": True}
    predict = jax.jit(train.make_predict(network, prepare=prepare, precision=precision))
    return evaluate(run, predict, fitted, dataset, batch_size, shift_images)


def arguments() -> dict[str, Any]:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--data", dest="data_name", choices=DATA, default="mnist")
    parser.add_argument("--data-dir", help="where its files are; ~/.cache/jaxconv unless given")
    parser.add_argument("--download", action="store_true", help="fetch files that are missing")
    parser.add_argument("--epochs", type=int, default=3, help="default 3")
    parser.add_argument(
        "--batch", dest="batch_size", type=int, default=64, help="images a step; default 64"
    )
    parser.add_argument("--lr", dest="learning_rate", type=float, default=0.003, help="its peak")
    parser.add_argument("--weight-decay", type=float, default=0.01, help="of kernels; default 0.01")
    parser.add_argument("--seed", type=int, default=0, help="decides every bit of the run")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--limit", type=int, help="most images of a split; all unless given")
    parser.add_argument("--shift-images", type=int, default=16, help="images to shift; 0 for none")
    parser.add_argument("--out", help="folder of the run; runs/<data>-<model> unless given")
    return vars(parser.parse_args())


if __name__ == "__main__":
    try:
        main(**arguments())
    except (ArithmeticError, ImportError, OSError, ValueError) as error:  # it says what to do
        raise SystemExit("\n".join([str(error), *getattr(error, "__notes__", [])])) from None
