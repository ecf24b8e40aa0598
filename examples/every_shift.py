"""Asks a trained network about every circular shift of every test image.

A network whose strides sample adaptively (polyphase) is invariant to circular shifts by proof, up
to rounding. Rounding could still flip a class whose lead is small, or a phase that wins by little.
So here is the count: 10,000 test images, each in 1,024 places, 10,240,000 answers. Beside the flips
stands how near they were: the smallest lead of a first class, and by how many times a lead exceeds
twice the largest change of a logit of that image; over 1, no shift can flip it.

    python examples/every_shift.py --data mnist --data-dir ~/mnist
    python examples/every_shift.py --data cifar10 --data-dir ~/cifar --networks runs/cifar

On MNIST the digits get zeros around them, up to 32 pixels, and a small network learns them first;
on CIFAR-10 it is the polyphase ResNet-20 of `shift_invariance_cifar.py`, which lies in the folder
of networks or is trained into it. Blocks of images are stored as soon as they are done; run the
command again and it goes on. `--strides` asks the same network with strides, to see it fail.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxconv as jc
from _shift_invariance_variants import DEFAULT, Recipe
from jaxconv import train
from jaxconv.compiler_options import tuned_jit
from jaxconv.train import data
from shift_invariance_cifar import LOSS, experiment, load, trained

Predict = Callable[[jax.Array], jax.Array]
Moved = Callable[[np.ndarray, np.ndarray], jax.Array]
Sampler = Callable[[int], jc.Layer] | None


class Asked(NamedTuple):
    """What one block of images answered under every shift.

    Attributes:
        images: how many.
        shifts: how many each.
        correct: images whose unshifted prediction is right.
        flips: predictions that differ from that of the image unshifted.
        flipped: images with a flip.
        ties: predictions whose two first classes are equal.
        lead: the smallest lead of a first class over the second.
        change: the largest change of a logit, relative to the largest logit.
        safety: the smallest lead of an image over twice the largest change of a logit of it;
            over 1, no flip is possible.
    """

    images: int
    shifts: int
    correct: int
    flips: int
    flipped: int
    ties: int
    lead: float
    change: float
    safety: float


def summary(logits: np.ndarray, labels: np.ndarray) -> Asked:
    """Counts of logits (shifts, images, classes), the first shift being none."""
    wide = logits.astype(np.float64)
    classes = wide.argmax(-1)
    flips = classes != classes[0]
    top = np.sort(wide, axis=-1)
    lead = (top[..., -1] - top[..., -2]).min(axis=0)
    change = np.abs(wide - wide[0]).max((0, 2))
    return Asked(
        len(labels),
        len(wide),
        int((classes[0] == labels).sum()),
        int(flips.sum()),
        int(flips.any(axis=0).sum()),
        int((top[..., -1] == top[..., -2]).sum()),
        float(lead.min()),
        float(change.max() / np.abs(wide).max()),
        float((lead / np.maximum(2 * change, 1e-300)).min()),
    )


def total(blocks: list[Asked]) -> Asked:
    """All blocks as one."""
    of = lambda name: [getattr(block, name) for block in blocks]
    counts = {name: sum(of(name)) for name in ("images", "correct", "flips", "flipped", "ties")}
    return Asked(
        shifts=max(of("shifts")), lead=min(of("lead")), change=max(of("change")),
        safety=min(of("safety")), **counts,
    )  # fmt: skip


def describe(found: Asked) -> str:
    """A line for people."""
    answers = found.images * found.shifts
    return (
        f"{found.images:,} images x {found.shifts:,} shifts = {answers:,} answers: "
        f"C_all {1 - found.flipped / found.images:.2%}, {found.flips:,} flips, {found.ties} ties; "
        f"smallest lead {found.lead:.1e}, largest change {found.change:.1e}, "
        f"safety {found.safety:.3g}; accuracy {found.correct / found.images:.2%}"
    )


def small(sampler: Sampler) -> jc.Layer:
    """Three circular convolutions for digits; two of them are sampled, or have strides."""
    conv = functools.partial(jc.conv, window=3, padding="half", padding_mode="circular")
    stride = 1 if sampler else 2
    down = (lambda: lambda x: x) if sampler is None else (lambda: sampler(2))
    return jc.serial(
        conv_1=conv(8, stride=stride), down_1=down(), relu_1=jax.nn.relu,
        conv_2=conv(16, stride=stride), down_2=down(), relu_2=jax.nn.relu,
        conv_3=conv(32), relu_3=jax.nn.relu, pool=jc.global_avg_pool(), dense=jc.dense(10),
    )  # fmt: skip


def mnist(folder: str, sampler: Sampler) -> tuple[Predict, data.Dataset]:
    """Digits with zeros around them, 32 x 32, and the small network after an epoch of them."""
    found = data.mnist(folder)
    pad = lambda images: np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    found = found._replace(train_images=pad(found.train_images), test_images=pad(found.test_images))
    optimizer = optax.adam(3e-3)
    step = train.make_train_step(small(jc.polyphase_down), LOSS, optimizer)
    now = train.init_train_state(
        small(jc.polyphase_down), optimizer, jax.random.key(0), found.train_images
    )
    now = train.fit(now, step, found, epochs=1, batch_size=100, progress=False).train_state
    return functools.partial(train.make_predict(small(sampler)), now.params, now.state), found


def cifar(
    name: str, folder: str, sampler: Sampler, networks: Path, recipe: Recipe
) -> tuple[Predict, data.Dataset]:
    """CIFAR-10 and the polyphase ResNet-20 of the folder; trained into it, if it is not there."""
    found = load(name, folder, dataclasses.replace(recipe, test_images=10_000))
    one = experiment("polyphase", recipe, found)
    (networks / recipe.folder).mkdir(parents=True, exist_ok=True)
    now = trained(one, 0, networks / recipe.folder)
    model = jc.models.resnet(recipe.depth, 10, stem="cifar", padding_mode="circular", down=sampler)
    predict = train.make_predict(model, prepare=one.prepare)
    return functools.partial(predict, now.params, now.state), found


def ask(moved: Moved, images: np.ndarray) -> np.ndarray:
    """Logits under every circular shift: (shifts, images, classes)."""
    shifts = itertools.product(*map(range, images.shape[1:3]))
    return np.stack([moved(images, np.asarray(shift)) for shift in shifts])


def main(
    *,
    data_name: str = "mnist",
    data_dir: str,
    images: int = 10_000,
    block: int = 200,
    strides: bool = False,
    networks: str | Path = "runs/shift_invariance_cifar",
    recipe: Recipe = DEFAULT,
    out: str | Path = "runs/every_shift",
) -> Asked:
    """Asks what is not stored yet, block by block; prints how it stands, and returns it."""
    sampler = None if strides else jc.polyphase_down
    if data_name == "mnist":
        predict, found = mnist(data_dir, sampler)
    else:
        predict, found = cifar(data_name, data_dir, sampler, Path(networks), recipe)
    moved = tuned_jit(lambda x, shift: predict(jnp.roll(x, shift, (1, 2))))
    which = "small" if data_name == "mnist" else recipe.folder
    folder = Path(out) / f"{which}-{'strides' if strides else 'polyphase'}-{block}"
    folder.mkdir(parents=True, exist_ok=True)
    blocks = []
    for start in range(0, min(images, len(found.test_images)), block):
        path, rows = folder / f"{start}.json", slice(start, start + block)
        if not path.exists():
            began = time.perf_counter()
            answered = summary(ask(moved, found.test_images[rows]), found.test_labels[rows])
            path.write_text(json.dumps(answered._asdict()))
            print(f"{time.perf_counter() - began:.0f} s", end="  ")
        blocks.append(Asked(**json.loads(path.read_text())))
        print(describe(total(blocks)), flush=True)
    return total(blocks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", dest="data_name", default="mnist", choices=("mnist", "cifar10", "folder")
    )
    parser.add_argument("--data-dir", required=True, help="folder of the data set")
    parser.add_argument("--images", type=int, default=10_000, help="of the test set")
    parser.add_argument("--block", type=int, default=200, help="images at once, a stored block")
    parser.add_argument("--strides", action="store_true", help="the control: no adaptive sampling")
    parser.add_argument("--networks", default="runs/shift_invariance_cifar", help="trained ones")
    parser.add_argument("--epochs", type=int, default=DEFAULT.epochs, help="of that training")
    parser.add_argument("--per-class", type=int, default=DEFAULT.limit_per_class)
    parser.add_argument("--out", default="runs/every_shift", help="folder of answers")
    given = parser.parse_args()
    jc.tune_malloc()
    main(
        data_name=given.data_name,
        data_dir=given.data_dir,
        images=given.images,
        block=given.block,
        strides=given.strides,
        networks=given.networks,
        recipe=dataclasses.replace(DEFAULT, epochs=given.epochs, limit_per_class=given.per_class),
        out=given.out,
    )
