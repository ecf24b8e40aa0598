"""The page of `shift_invariance_cifar.py`: a table, a picture, and how to read them."""

import statistics
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import _page
from _shift_invariance_variants import Recipe

Results = dict[str, list[dict[str, Any]]]
"""By variant, the numbers of every seed."""

CAVEAT = (
    "100 % is a statement about circular shifts, under which what leaves on one side comes back on "
    "the other.\nUnder crops new content enters, and no way of sampling makes that exact: compare "
    "the columns."
)


HEAD = (
    "variant", "seeds", "accuracy", "C_all, circular", "C_pair, circular", "C_all, crops",
    "C_pair, crops", "A_adv", "eps_inf", "parameters", "multiply-adds", "step",
)  # fmt: skip


def table(results: Results, times: dict[str, float]) -> str:
    """Means over seeds, with standard deviations of the accuracy and the largest eps_inf."""
    return _page.table(HEAD, [row(name, found, times) for name, found in results.items()])


def row(name: str, found: list[dict[str, Any]], times: dict[str, float]) -> tuple[str, ...]:
    """One variant: a cell for each title of `HEAD`."""
    mean = lambda key: statistics.fmean(result[key] for result in found)
    spread = statistics.stdev([r["accuracy"] for r in found]) if len(found) > 1 else None
    accuracy = f"{100 * mean('accuracy'):.1f}"
    step = times[name] / times["circular"] if {name, "circular"} <= set(times) else None
    return (
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


def draw(results: Results) -> Figure:
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
    results: Results,
    times: dict[str, float],
    recipe: Recipe,
    data_name: str,
    picture: str,
    note: str,
) -> str:
    """The page: what was run, the table, the picture, and how to read them."""
    minutes = sum(result["seconds"] for found in results.values() for result in found) / 60
    blocks = [
        "# Shift-invariance on real images",
        training(recipe, data_name),
        columns(recipe),
        table(results, times),
        f"![Bars and scatter of the table]({picture})",
        CAVEAT.replace("\n", " "),
        *without_a_flip(results, recipe),
        *against_circular(results),
        f"Training and scoring took {minutes:.0f} minutes, on: {_page.machine()}. {note}",
    ]
    return _page.page(blocks)


def training(recipe: Recipe, data_name: str) -> str:
    """What every variant learned, and how."""
    source = {"cifar10": "the official files", "folder": "a folder of images"}[data_name]
    return (
        f"ResNet-{recipe.depth} on CIFAR-10 ({source}), the same recipe for every variant: "
        f"{10 * recipe.limit_per_class:,} training images, {recipe.epochs} epoch"
        f"{'s' * (recipe.epochs > 1)} of batches of {recipe.batch_size} ({recipe.steps} steps), "
        f"SGD with Nesterov momentum 0.9, peak learning rate {recipe.learning_rate:g} after a "
        f"warm-up and then a cosine, weight decay {recipe.weight_decay:g} on kernels, horizontal "
        f"flips only, float32. Means over seeds, ± one standard deviation."
    )


def columns(recipe: Recipe) -> str:
    """What the columns of the table are."""
    return (
        f"Accuracy: of {recipe.test_images:,} test images, unshifted. C_all, C_pair, A_adv and "
        f"eps_inf, circular: {recipe.images} test images a seed under all 1,024 circular shifts. "
        f"Crops: {recipe.crop_images} test images a seed, all {(32 - recipe.crop) // 2 * 2 + 1}² "
        f"crops of {recipe.crop} × {recipe.crop} pixels. Of these, C_all: the share of images with "
        f"one predicted class; C_pair: the probability that two shifts of an image agree; A_adv: "
        f"the share predicted right under every shift; eps_inf: the largest change of a logit, "
        f"relative to the largest, over all seeds. Step: time of a training step, relative to "
        f"the circular baseline."
    )


def without_a_flip(results: Results, recipe: Recipe) -> list[str]:
    """The variants whose every circular shift got one answer, and by how much they got it."""
    exact = [name for name, found in results.items() if all(r["c_all"] == 1 for r in found)]
    same = [r for name in exact for r in results[name]]
    if not same:
        return []
    flips, ties = sum(r["flips"] for r in same), sum(r["ties"] for r in same)
    margin, eps = min(r["margin"] for r in same), max(r["eps_inf"] for r in same)
    return [
        f"Without a flip: {', '.join(exact)}. In {len(same) * recipe.images * 1024:,} "
        f"predictions {flips} flips and {ties} ties; the smallest lead of a first class over "
        f"the second is {margin:.1e}, the largest relative change of a logit {eps:.1e}."
    ]


def against_circular(results: Results) -> list[str]:
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
