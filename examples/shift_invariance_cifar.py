"""Nine ways to go from one resolution to the next, one recipe: what they do on real images.

ResNet-20 learns CIFAR-10 nine times, and three times each: padded with zeros, circular with
strides, blurred before sampling, sampled on the phase that the image chooses or that a small
network chooses for it, without aliasing, and moved to a canonical place first. Asked about every
circular shift of the test images, some of them give one answer and others do not; asked about
crops, none does always. "100 %" is a statement about circular shifts.

    python examples/shift_invariance_cifar.py --data cifar10 --data-dir ~/cifar --quick
    python examples/shift_invariance_cifar.py --data cifar10 --data-dir ~/cifar
    python examples/shift_invariance_cifar.py --data folder --data-dir ~/images --images 10000

Every network is saved, and every result stored, as soon as it exists; run the command again and
it goes on where it was stopped. `--stage time` measures training steps, `--stage page` writes the
page.

References:
    Zhang 2019, arXiv:1904.11486 (blur); Chaman and Dokmanic 2021, arXiv:2011.14214 (polyphase);
    Rojas-Gomez et al. 2022, arXiv:2210.08001 (learned polyphase); Michaeli et al. 2023,
    arXiv:2303.08085 (alias-free, adversarial accuracy); Kaba et al. 2022, arXiv:2211.06489
    (canonicalization).
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import json
import os
import statistics
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxconv as jc
from jaxconv import train
from jaxconv.compiler_options import tuned_jit
from jaxconv.equivariance import consistency, crop_shift, make_shift_invariant
from jaxconv.train import data

LOSS = optax.softmax_cross_entropy_with_integer_labels


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is the same for every variant.

    Attributes:
        limit_per_class: training images of each class.
        epochs: passes over them.
        batch_size: images a step.
        learning_rate: the peak of a warm-up and a cosine, for SGD with Nesterov momentum 0.9.
        weight_decay: of the kernels.
        images: test images that are asked about under every circular shift.
        crop_images: test images that are asked about under every crop.
        crop: pixels of those crops.
        test_images: images that the accuracy is of.
        depth: of the ResNet.
    """

    limit_per_class: int = 800
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    images: int = 24
    crop_images: int = 200
    crop: int = 28
    test_images: int = 5_000
    depth: int = 20

    @property
    def steps(self) -> int:
        """Updates in a whole run."""
        return self.epochs * (10 * self.limit_per_class // self.batch_size)

    @property
    def folder(self) -> str:
        """Where networks trained this way lie."""
        return (
            f"resnet{self.depth}-{self.limit_per_class}x{self.epochs}-batch{self.batch_size}"
            f"-rate{self.learning_rate:g}-decay{self.weight_decay:g}"
        )


DEFAULT = Recipe()
QUICK = Recipe(limit_per_class=100, images=4, crop_images=20, test_images=500)
CAVEAT = (
    "100 % is a statement about circular shifts, under which what leaves on one side comes back on "
    "the other.\nUnder crops new content enters, and no way of sampling makes that exact: compare "
    "the columns."
)


def canonicalized(model: jc.Layer) -> jc.Layer:
    """The model on images that are first rolled to a place that their content chooses."""

    def apply(params, state, x, *, train=False, key=None):
        f = lambda x: model.apply(params, state, x, train=train, key=key)
        return make_shift_invariant(f)(x)

    return jc.Layer(model.init, apply, model.name)


def variants(recipe: Recipe) -> dict[str, Callable[[], jc.Layer]]:
    """What is compared, by name."""
    resnet = functools.partial(jc.models.resnet, recipe.depth, 10, stem="cifar")
    circular = functools.partial(resnet, padding_mode="circular")
    blur = lambda taps: circular(down=functools.partial(jc.blur_pool, taps=taps))
    cooling = optax.exponential_decay(1.0, recipe.steps, 0.05)
    learned = lambda stride: jc.polyphase_down(
        stride, scorer=jc.phase_scorer(), temperature=cooling
    )
    # A parabola squares what it is given: it gets one size of every image, and only inside blocks.
    parabola = jc.serial(jc.alias_free_norm(), jc.filtered_polynomial(), name="parabola")
    alias_free = functools.partial(circular, down=jc.ideal_down, activation=parabola)
    return {
        "zero-padded": resnet,
        "circular": circular,
        "blur 2": lambda: blur(2),
        "blur 3": lambda: blur(3),
        "blur 5": lambda: blur(5),
        "polyphase": lambda: circular(down=jc.polyphase_down),
        "learned polyphase": lambda: circular(down=learned),
        "alias-free": lambda: alias_free(activate_sums=False),
        "canonicalized": lambda: canonicalized(resnet()),
    }


def load(name: str, data_dir: str, recipe: Recipe) -> data.Dataset:
    """The training images of the recipe; test images in an order that mixes the classes."""
    if name == "folder":
        found = data.image_folder(data_dir, limit_per_class=max(recipe.limit_per_class, 1000))
    else:
        found = data.cifar10(data_dir)
    labels = found.train_labels
    first = [np.flatnonzero(labels == c)[: recipe.limit_per_class] for c in range(10)]
    kept = np.sort(np.concatenate(first))
    mixed = data.order(0, 0, len(found.test_labels))[: recipe.test_images]
    return found._replace(
        train_images=found.train_images[kept],
        train_labels=labels[kept],
        test_images=found.test_images[mixed],
        test_labels=found.test_labels[mixed],
    )


class Experiment(NamedTuple):
    """One variant under one recipe, built once, so that every seed finds its step compiled."""

    name: str
    recipe: Recipe
    dataset: data.Dataset
    model: jc.Layer
    prepare: Callable[[jax.Array], jax.Array]
    optimizer: optax.GradientTransformation
    step: train.step.TrainStep


def experiment(name: str, recipe: Recipe, dataset: data.Dataset) -> Experiment:
    model = variants(recipe)[name]()
    mean, deviation = data.channel_statistics(dataset.train_images)
    prepare = functools.partial(data.normalize, mean=mean, deviation=deviation)
    optimizer = optax.chain(
        optax.add_decayed_weights(recipe.weight_decay, mask=train.decays),
        optax.sgd(train.warmup_cosine(recipe.learning_rate, recipe.steps), 0.9, nesterov=True),
    )
    step = train.make_train_step(model, LOSS, optimizer, prepare=prepare, augment=mirror)
    return Experiment(name, recipe, dataset, model, prepare, optimizer, step)


def start(one: Experiment, seed: int) -> train.TrainState:
    """Parameters before training."""
    images = one.dataset.train_images
    return train.init_train_state(one.model, one.optimizer, jax.random.key(seed), images)


def trained(one: Experiment, seed: int, folder: Path) -> train.TrainState:
    """Parameters after training: those that were saved, or those of a new run."""
    path, begin = folder / f"{slug(one.name, seed)}.safetensors", start(one, seed)
    if path.exists():
        params, state = train.checkpoint.load(path, (begin.params, begin.state))
        return begin._replace(params=params, state=state)
    recipe = one.recipe
    fitted = train.fit(
        begin, one.step, one.dataset, epochs=recipe.epochs, batch_size=recipe.batch_size,
        seed=seed, progress=False, report=lambda line: None,
    ).train_state  # fmt: skip
    train.checkpoint.save(path, (fitted.params, fitted.state))
    return fitted


def scores(one: Experiment, seed: int, folder: Path) -> dict[str, Any]:
    """All numbers of one trained network."""
    recipe, now = one.recipe, trained(one, seed, folder)
    images, labels = one.dataset.test_images, one.dataset.test_labels
    predict = train.make_predict(one.model, prepare=one.prepare)
    f = functools.partial(predict, now.params, now.state)
    logits = train.predict_all(tuned_jit(predict), now, images, batch_size=500)
    n, m = recipe.images, recipe.crop_images
    rolls = consistency(f, images[:n], labels[:n], batch=min(n, 100))
    cuts = consistency(f, images[:m], labels[:m], action=crop_shift(recipe.crop), batch=m)
    found = jc.summary(one.model, jax.ShapeDtypeStruct((1, *images.shape[1:]), np.float32))
    return {
        "accuracy": float((logits.argmax(-1) == labels).mean()),
        "c_all": rolls.c_all,
        "c_pair": rolls.c_pair,
        "a_adv": rolls.a_adv,
        "eps_inf": rolls.change,
        "margin": rolls.margin,
        "ties": rolls.ties,
        "flips": int((rolls.predictions != rolls.predictions[0]).sum()),
        "crop_all": cuts.c_all,
        "crop_pair": cuts.c_pair,
        "parameters": found.parameters,
        "multiply_adds": found.multiply_adds,
    }


def mirror(key: jax.Array, batch: train.Batch) -> train.Batch:
    """Half of the images flipped left to right, which is all the augmentation there is."""
    images = data.augment(key, batch.epoch, batch.indices, batch.images, (data.flip,))
    return batch._replace(images=images)


def slug(name: str, seed: int) -> str:
    return f"{name.replace(' ', '_')}-{seed}"


def stored(path: Path, recipe: Recipe, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file says under this very recipe, else what is measured now, which goes there."""
    words = dataclasses.asdict(recipe)
    if path.exists():
        found = json.loads(path.read_text())
        if found["recipe"] == words:
            return found
    began = time.perf_counter()
    found = {"recipe": words, **measure(), "seconds": time.perf_counter() - began}
    path.write_text(json.dumps(found, indent=1))
    return found


def step_times(experiments: list[Experiment], rounds: int) -> dict[str, float]:
    """Milliseconds of a training step, medians of rounds in which all take turns."""
    runs, times = [], {one.name: [] for one in experiments}
    for one in experiments:
        size = one.recipe.batch_size
        batch = one.dataset.train_images[:size], one.dataset.train_labels[:size]
        run = functools.partial(tuned_jit(one.step), start(one, 0), batch, jax.random.key(1))
        jax.block_until_ready(run())
        runs.append((one.name, run))
    for _ in range(rounds):
        for name, run in runs:
            began = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


HEAD = (
    "variant", "seeds", "accuracy", "C_all, circular", "C_pair, circular", "C_all, crops",
    "C_pair, crops", "A_adv",
    "eps_inf", "parameters", "multiply-adds", "step",
)  # fmt: skip


def table(results: dict[str, list[dict[str, Any]]], times: dict[str, float]) -> str:
    """Means over seeds, with standard deviations of the accuracy and the largest eps_inf."""
    rows = [HEAD, ("---", *["---:"] * (len(HEAD) - 1))]
    for name, found in results.items():
        mean = lambda key: statistics.fmean(result[key] for result in found)  # noqa: B023
        spread = statistics.stdev([r["accuracy"] for r in found]) if len(found) > 1 else None
        accuracy = f"{100 * mean('accuracy'):.1f}"
        step = times[name] / times["circular"] if {name, "circular"} <= set(times) else None
        rows.append(
            (
                name,
                str(len(found)),
                accuracy if spread is None else f"{accuracy} ± {100 * spread:.1f}",
                f"{100 * mean('c_all'):.2f}",
                f"{100 * mean('c_pair'):.2f}",
                f"{100 * mean('crop_all'):.1f}",
                f"{100 * mean('crop_pair'):.1f}",
                f"{100 * mean('a_adv'):.1f}",
                f"{max(r['eps_inf'] for r in found):.1e}",
                f"{found[0]['parameters']:,}",
                f"{found[0]['multiply_adds'] / 1e6:.1f} M",
                "" if step is None else f"{step:.2f}×",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def draw(results: dict[str, list[dict[str, Any]]]) -> Figure:
    """Circular and crop figures side by side, and what they cost in accuracy."""
    figure = Figure(figsize=(11, 4.4), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    places = np.arange(len(results))
    bars = (("c_all", -0.27, "C_all, all circular shifts"), ("crop_all", 0, "C_all, all crops"),
            ("crop_pair", 0.27, "C_pair, crops"))  # fmt: skip
    for key, offset, label in bars:
        values = [[100 * r[key] for r in found] for found in results.values()]
        drawn = left.bar(places + offset, [np.mean(v) for v in values], 0.25, label=label)
        left.bar_label(drawn, fmt="%.0f", fontsize=7, label_type="center", color="white")
        for place, value in zip(places + offset, values, strict=True):
            left.plot([place] * len(value), value, "k.", markersize=2)
    left.set_xticks(places, list(results), rotation=25, ha="right", fontsize=8)
    left.set_ylabel("same class (% of test images or pairs)")
    left.set_ylim(0, 122)
    left.set_yticks(range(0, 101, 20))
    left.legend(fontsize=8, ncols=3, loc="upper center")
    for name, found in results.items():
        x, y = [100 * r["accuracy"] for r in found], [100 * r["a_adv"] for r in found]
        right.plot(x, y, "o", markersize=4, label=name)
    right.set_xlabel("test accuracy (%)")
    right.set_ylabel("right under all circular shifts (%)")
    right.legend(fontsize=7)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def text(
    results: dict[str, list[dict[str, Any]]],
    times: dict[str, float],
    recipe: Recipe,
    data_name: str,
    picture: str,
    note: str,
) -> str:
    """The page: what was run, the table, the picture, and how to read them."""
    runs = [result for found in results.values() for result in found]
    exact = [name for name, found in results.items() if all(r["c_all"] == 1 for r in found)]
    same = [r for name in exact for r in results[name]]
    source = {"cifar10": "the official files", "folder": "a folder of images"}[data_name]
    lines = [
        "# Shift-invariance on real images",
        f"ResNet-{recipe.depth} on CIFAR-10 ({source}), the same recipe for every variant: "
        f"{10 * recipe.limit_per_class:,} training images, {recipe.epochs} epoch"
        f"{'s' * (recipe.epochs > 1)} of batches of {recipe.batch_size} ({recipe.steps} steps), "
        f"SGD with Nesterov momentum 0.9, peak learning rate {recipe.learning_rate:g} after a "
        f"warm-up and then a cosine, weight decay {recipe.weight_decay:g} on kernels, horizontal "
        f"flips only, float32. Means over seeds, ± one standard deviation.",
        f"Accuracy: of {recipe.test_images:,} test images, unshifted. C_all, C_pair, A_adv and "
        f"eps_inf, circular: {recipe.images} test images a seed under all 1,024 circular shifts. "
        f"Crops: {recipe.crop_images} test images a seed, all {(32 - recipe.crop) // 2 * 2 + 1}² "
        f"crops of {recipe.crop} × {recipe.crop} pixels. Of these, C_all: the share of images with "
        f"one predicted class; C_pair: the probability that two shifts of an image agree; A_adv: "
        f"the share predicted right under every shift; eps_inf: the largest change of a logit, "
        f"relative to the largest, over all seeds. Step: time of a training step, relative to "
        f"the circular baseline.",
        table(results, times),
        f"![Bars and scatter of the table]({picture})",
        CAVEAT.replace("\n", " "),
    ]
    if same:
        flips, ties = sum(r["flips"] for r in same), sum(r["ties"] for r in same)
        margin, eps = min(r["margin"] for r in same), max(r["eps_inf"] for r in same)
        lines.append(
            f"Without a flip: {', '.join(exact)}. In {len(same) * recipe.images * 1024:,} "
            f"predictions {flips} flips and {ties} ties; the smallest lead of a first class over "
            f"the second is {margin:.1e}, the largest relative change of a logit {eps:.1e}."
        )
    lines += against_circular(results)
    minutes = sum(result["seconds"] for result in runs) / 60
    lines.append(f"Training and scoring took {minutes:.0f} minutes, on: {machine()}. {note}")
    wrapped = [line if line[0] in "|#!" else textwrap.fill(line, 100) for line in lines]
    return "\n\n".join(wrapped) + "\n"


def against_circular(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Differences to the circular baseline, seed by seed, of what has as many seeds."""
    base = results.get("circular", [])
    found = []
    for name, others in results.items():
        if name == "circular" or len(others) != len(base):
            continue
        words = []
        for key, title in (("accuracy", "accuracy"), ("c_pair", "C_pair, circular"),
                           ("crop_pair", "C_pair, crops")):  # fmt: skip
            points = [100 * (r[key] - b[key]) for r, b in zip(others, base, strict=True)]
            each = ", ".join(f"{p:+.1f}" for p in points)
            words.append(f"{title} {statistics.fmean(points):+.1f} ({each})")
        found.append(f"{name}: {'; '.join(words)}")
    return [f"Points above the circular baseline, seed by seed. {'. '.join(found)}."] * bool(found)


def machine() -> str:
    names = ("jax", "jaxlib", "numpy", "optax")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}, {versions}"


def main(
    *,
    data_name: str = "cifar10",
    data_dir: str = "",
    recipe: Recipe = DEFAULT,
    names: tuple[str, ...] = (),
    seeds: int = 3,
    stage: str = "all",
    rounds: int = 15,
    out: str | Path = "runs/shift_invariance_cifar",
    page: str | Path | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Trains what is not trained yet, scores, times, and writes a page; returns the numbers."""
    folder = Path(out) / recipe.folder
    folder.mkdir(parents=True, exist_ok=True)
    names = names or tuple(variants(recipe))
    dataset = load(data_name, data_dir, recipe) if stage != "page" else None
    experiments = [experiment(name, recipe, dataset) for name in names] if dataset else []
    if stage in ("all", "train"):
        for seed in range(seeds):
            for one in experiments:
                path = folder / f"{slug(one.name, seed)}.json"
                found = stored(path, recipe, functools.partial(scores, one, seed, folder))
                print(f"seed {seed}  {one.name:<18} accuracy {found['accuracy']:.2%}  "
                      f"C_all, circular {found['c_all']:.2%}  C_all, crops "
                      f"{found['crop_all']:.2%}  {found['seconds']:.0f} s", flush=True)  # fmt: skip
    times_path = folder / "times.json"
    if stage == "time" or (stage == "all" and not times_path.exists()):
        times_path.write_text(json.dumps(step_times(experiments, rounds), indent=1))
    times = json.loads(times_path.read_text()) if times_path.exists() else {}
    results = {}
    for name in names:
        paths = [folder / f"{slug(name, seed)}.json" for seed in range(seeds)]
        found = [json.loads(path.read_text()) for path in paths if path.exists()]
        if found:
            results[name] = found
    print(table(results, times))
    place = Path(page) if page else folder / "shift_invariance.md"
    picture = place.with_suffix(".png")
    draw(results).savefig(picture)
    place.write_text(text(results, times, recipe, data_name, picture.name, note))
    print(f"\n{CAVEAT}\n\nPage: {place}")
    return {"results": results, "times": times}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", dest="data_name", default="cifar10", choices=("cifar10", "folder")
    )
    parser.add_argument("--data-dir", required=True, help="folder of the data set")
    parser.add_argument("--quick", action="store_true", help="the same table in a few minutes")
    parser.add_argument("--variant", dest="names", action="append", help="only this one")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, help="test images under every circular shift")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--per-class", type=int, help="training images of each class")
    parser.add_argument("--stage", default="all", choices=("all", "train", "time", "page"))
    parser.add_argument("--out", default="runs/shift_invariance_cifar", help="folder of results")
    parser.add_argument("--page", help="Markdown file to write, with its picture beside it")
    parser.add_argument("--note", default="", help="a sentence for the end of the page")
    given = parser.parse_args()
    changes = {"images": given.images, "epochs": given.epochs, "limit_per_class": given.per_class}
    chosen = {name: value for name, value in changes.items() if value is not None}
    jc.tune_malloc()
    main(
        data_name=given.data_name,
        data_dir=given.data_dir,
        recipe=dataclasses.replace(QUICK if given.quick else DEFAULT, **chosen),
        names=tuple(given.names or ()),
        seeds=1 if given.quick else given.seeds,
        stage=given.stage,
        out=given.out,
        page=given.page,
        note=given.note,
    )
