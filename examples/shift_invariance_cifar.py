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
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxconv as jc
from _shift_invariance_page import CAVEAT, Results, draw, table, text
from _shift_invariance_variants import DEFAULT, QUICK, Recipe, variants
from jaxconv import train
from jaxconv.compiler_options import tuned_jit
from jaxconv.equivariance import consistency, crop_shift
from jaxconv.train import data

LOSS = optax.softmax_cross_entropy_with_integer_labels


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


def score_every_seed(experiments: list[Experiment], seeds: int, folder: Path) -> None:
    """Trains, scores and stores what is not stored yet; a line for each."""
    for seed in range(seeds):
        for one in experiments:
            path = folder / f"{slug(one.name, seed)}.json"
            found = stored(path, one.recipe, functools.partial(scores, one, seed, folder))
            print(f"seed {seed}  {one.name:<18} accuracy {found['accuracy']:.2%}  "
                  f"C_all, circular {found['c_all']:.2%}  C_all, crops "
                  f"{found['crop_all']:.2%}  {found['seconds']:.0f} s", flush=True)  # fmt: skip


def stepper(one: Experiment) -> Callable[[], Any]:
    """A training step at every call, jitted as `fit` does, so that it is compiled once for both."""
    rows = np.arange(one.recipe.batch_size, dtype=np.int32)
    images, labels = one.dataset.train_images[rows], one.dataset.train_labels[rows]
    batch, step = (
        train.Batch(images, labels, rows, np.int32(0)),
        tuned_jit(one.step, donate_argnums=0),
    )
    now = jax.tree.map(jnp.copy, start(one, 0))

    def run():
        nonlocal now
        now, metrics = step(now, batch, jax.random.key(1))
        return metrics

    return run


def step_times(experiments: list[Experiment], rounds: int) -> dict[str, float]:
    """Milliseconds of a training step, medians of rounds in which all take turns."""
    runs, times = {one.name: stepper(one) for one in experiments}, {}
    jax.block_until_ready([run() for run in runs.values()])
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            times.setdefault(name, []).append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def collected(folder: Path, names: Sequence[str], seeds: int) -> Results:
    """What is stored of these variants, those without a result left out."""
    results = {}
    for name in names:
        paths = [folder / f"{slug(name, seed)}.json" for seed in range(seeds)]
        found = [json.loads(path.read_text()) for path in paths if path.exists()]
        if found:
            results[name] = found
    return results


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
        score_every_seed(experiments, seeds, folder)
    times_path = folder / "times.json"
    if stage == "time" or (stage == "all" and not times_path.exists()):
        times_path.write_text(json.dumps(step_times(experiments, rounds), indent=1))
    times = json.loads(times_path.read_text()) if times_path.exists() else {}
    results = collected(folder, names, seeds)
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
