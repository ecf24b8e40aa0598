"""Denoises real photos with U-Nets that do, and do not, commute with shifts and exposures.

    pip install -e ".[examples]" && python examples/shift_equivariance_denoising.py --quick

Five networks trained by one recipe, and a wrapper. A denoiser should not care where the photo
starts: when it shifts, the result should shift, or video flickers. Nor should it care how the photo
was exposed: a·x + b should come out as a·y + b, or it serves the one exposure it was trained with.
Every error is measured twice: for circular shifts, where exact means exact, and for crops, where
new content enters at the border and no network is exact.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_sample_image

import jaxconv as jc
from jaxconv import equivariance

Function = Callable[[jax.Array], jax.Array]

SIZE, MARGIN, NOISE = 32, 4, 25 / 255
FEATURES = (8, 16, 32)
EXPOSURES = ((0.1, 0.5, 2.0, 10.0), (-10.0, -0.5, 0.0, 1.0, 10.0))


class Style(NamedTuple):
    """How one U-Net filters, bends, changes its resolution, and adds.

    Attributes:
        conv: features -> a filter of 3 x 3 taps.
        between: makes what follows a filter.
        around: (a network, its features) -> the same between half the resolution and back.
        add: a network -> the network and its input, added.
    """

    conv: Callable[..., jc.Layer]
    between: Callable[[], jc.Layer]
    around: Callable[[jc.Layer, int], jc.Layer]
    add: Callable[[jc.Layer], jc.Layer] = jc.residual


def norm_and_relu() -> jc.Layer:
    """What follows a filter in most networks."""
    return jc.serial(jc.batch_norm(), jax.nn.relu)


def alias_free_bend() -> jc.Layer:
    """The same without frequencies that the pixels cannot hold."""
    return jc.serial(jc.alias_free_norm(), jc.filtered_polynomial())


def pooled(body: jc.Layer, features: int) -> jc.Layer:
    """Half the resolution by a max pool, back by a transposed convolution."""
    return jc.serial(jc.max_pool(2), body, jc.conv_transpose(features, 2, stride=2))


def on_chosen_pixels(body: jc.Layer, features: int) -> jc.Layer:
    """The same, on every second pixel from where the image says, and back onto these pixels.

    The choice goes by what differs from the mean, so that exposure does not change it; and what
    lies between the chosen pixels is interpolated, not left dark. Where exposure does not matter,
    `jc.polyphase_around(body)` is enough.
    """
    del features

    def chosen(x):
        mean = jnp.mean(x, axis=tuple(range(1, x.ndim)), keepdims=True)
        index = jc.ops.polyphase_select(x - mean, 2).index
        return jc.ops.polyphase_down(x, 2, index=index)

    def init(key, x):
        return body.init(key, jax.eval_shape(chosen, x)[0])

    def apply(params, state, x, *, train=False, key=None):
        samples, index = chosen(x)
        y, state = body.apply(params, state, samples, train=train, key=key)
        return 4 * jc.ops.blur(jc.ops.polyphase_up(y, index, 2), 3), state

    largest = jc.max_pool(2, stride=1, padding="same", padding_mode="circular")
    return jc.serial(largest, jc.Layer(init, apply, "around"))


def ideally(body: jc.Layer, features: int) -> jc.Layer:
    """The same through the spectrum."""
    del features
    return jc.serial(jc.ideal_down(2), body, jc.ideal_up(2))


def plus_what_moves(body: jc.Layer) -> jc.Layer:
    """Adds the input less its Nyquist frequency, about which an alias-free network says nothing."""
    return jc.residual(body, lambda x: jc.ops.ideal_down(jc.ops.ideal_up(x)))


circular_conv = functools.partial(jc.conv, window=3, padding_mode="circular")
STYLES = {
    "zero padding": Style(functools.partial(jc.conv, window=3), norm_and_relu, pooled),
    "circular": Style(circular_conv, norm_and_relu, pooled),
    "polyphase": Style(circular_conv, norm_and_relu, on_chosen_pixels),
    "alias-free": Style(circular_conv, alias_free_bend, ideally, plus_what_moves),
    "polyphase, affine": Style(
        functools.partial(jc.affine_conv, window=3),
        jc.sort_pool,
        on_chosen_pixels,
        jc.affine_residual,
    ),
}


def unet(style: Style) -> jc.Layer:
    """A U-Net whose levels have 8, 16 and 32 features, added to its input."""

    def convs(features):
        return jc.serial(
            style.conv(features), style.between(), style.conv(features), style.between()
        )

    def level(features):
        if len(features) == 1:
            return convs(features[0])
        deeper = style.around(level(features[1:]), features[1])
        skip = jc.parallel(bridge=lambda x: x, deeper=deeper, combine="concatenate")
        return jc.serial(convs(features[0]), skip, convs(features[0]))

    head = style.conv(1, kernel_init=jax.nn.initializers.normal(0.01))
    return style.add(jc.serial(level(FEATURES), head))


def patches(count: int, size: int, seed: int, *, test: bool) -> np.ndarray:
    """Gray patches (count, size, size, 1) of two photos; those to test from the right quarter."""
    rng = np.random.default_rng(seed)
    cut = []
    for name in ("china.jpg", "flower.jpg"):
        photo = load_sample_image(name).mean(axis=-1, dtype=np.float32) / 255
        photo = photo[:, 480:] if test else photo[:, :480]
        rows, columns = (rng.integers(0, n - size, count // 2) for n in photo.shape)
        cut += [photo[r : r + size, c : c + size] for r, c in zip(rows, columns, strict=True)]
    return np.stack(cut)[..., None]


def train(model: jc.Layer, steps: int, batch: int, seed: int) -> tuple[Any, Any, float]:
    """Parameters and state after `steps`, and the median milliseconds of a step."""
    clean = jnp.asarray(patches(4096, SIZE, seed, test=False))
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, steps))

    @jax.jit
    def step(carry, key):
        params, state, memory = carry
        which, noise = jax.random.split(key)
        y = clean[jax.random.randint(which, (batch,), 0, len(clean))]
        x = y + NOISE * jax.random.normal(noise, y.shape)

        def loss(params):
            found, new = model.apply(params, state, x, train=True)
            return jnp.mean((found - y) ** 2), new

        grads, state = jax.grad(loss, has_aux=True)(params)
        updates, memory = optimizer.update(grads, memory)
        return optax.apply_updates(params, updates), state, memory

    params, state = model.init(jax.random.key(seed), clean[:1])
    carry, times = (params, state, optimizer.init(params)), []
    for number in range(steps):
        start = time.perf_counter()
        carry = jax.block_until_ready(step(carry, jax.random.key(1000 * seed + number)))
        times.append(time.perf_counter() - start)
    return *carry[:2], 1000 * float(np.median(times))


def psnr(f: Function, batch: int, gain: float, offset: float) -> float:
    """Decibels between 256 clean patches and what f makes of noisy ones, exposed differently."""
    clean = patches(256, SIZE, 7, test=True)
    noisy = clean + NOISE * np.asarray(jax.random.normal(jax.random.key(1), clean.shape))
    parts = np.split(gain * noisy + offset, range(batch, len(clean), batch))
    found = (np.concatenate(list(map(jax.jit(f), parts))) - offset) / gain
    return float(-10 * np.log10(np.mean((found - clean) ** 2)))


def crop_errors(f: Function, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """eps_2 of f of a crop against f of the central one, where both see the same pixels.

    Of all of these pixels, and of those that are a quarter of the crop inside both.
    """
    run = jax.jit(f)
    cut = lambda r, c: np.asarray(run(x[:, r : r + SIZE, c : c + SIZE]))
    y, errors, inside = cut(MARGIN, MARGIN), [], slice(SIZE // 4, -SIZE // 4)
    for r, c in itertools.product(range(2 * MARGIN + 1), repeat=2):
        z, (dr, dc) = cut(r, c), (r - MARGIN, c - MARGIN)
        here = y[:, max(dr, 0) : SIZE + min(dr, 0), max(dc, 0) : SIZE + min(dc, 0)]
        there = z[:, max(-dr, 0) : SIZE + min(-dr, 0), max(-dc, 0) : SIZE + min(-dc, 0)]
        change = (here - there) ** 2
        errors.append([np.sqrt(np.mean(part)) for part in (change, change[:, inside, inside])])
    deviation = np.sqrt(np.mean((y - y.mean((1, 2), keepdims=True)) ** 2))
    everywhere, within = np.asarray(errors).T / deviation
    return everywhere, within


def exposure_error(f: Function, x: jax.Array) -> float:
    """The largest |f(a·x + b) - (a·f(x) + b)| over the largest |a·f(x) + b|, of all exposures."""
    run = jax.jit(f)
    y, errors = run(x), []
    for gain, offset in itertools.product(*EXPOSURES):
        expected = gain * y + offset
        found = run(gain * x + offset)
        errors.append(jnp.abs(found - expected).max() / jnp.abs(expected).max())
    return float(max(errors))


def measure(f: Function, images: int) -> dict[str, float]:
    """How well f denoises, and what it obeys."""
    wide = patches(images, SIZE + 2 * MARGIN, 8, test=True)
    wide += NOISE * np.asarray(jax.random.normal(jax.random.key(2), wide.shape))
    x = jnp.asarray(wide[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
    smooth = jc.ops.ideal_down(jc.ops.ideal_up(x))  # without its Nyquist frequency
    circular = equivariance.shift_error(f, x, "circular", border=0)
    parts = equivariance.translation([[0.5, 0.5], [0.0, 0.5], [1.25, -0.75]])
    crops, within = crop_errors(f, wide)
    return {
        "psnr": psnr(f, images, 1, 0),
        "psnr_dark": psnr(f, images, 0.25, 0),
        "psnr_offset": psnr(f, images, 1, 2),
        "circular_worst": circular.worst,
        "circular_mean": float(circular.leaves[0].eps_2.mean()),
        "crop_worst": float(crops.max()),
        "crop_inside": float(within.mean()),
        "crop_mean": float(crops.mean()),
        "translation_worst": equivariance.shift_error(f, smooth, parts, border=0).worst,
        "exposure_worst": exposure_error(f, x),
    }


COLUMNS = {
    "psnr": ("PSNR", "{:.2f}"),
    "psnr_dark": ("at ¼ exposure", "{:.2f}"),
    "psnr_offset": ("at + 2", "{:.2f}"),
    "circular_mean": ("circular, mean", "{:.1e}"),
    "circular_worst": ("circular, worst", "{:.1e}"),
    "crop_mean": ("crop, mean", "{:.1e}"),
    "crop_worst": ("crop, worst", "{:.1e}"),
    "crop_inside": ("crop, inside", "{:.1e}"),
    "translation_worst": ("½ pixel, worst", "{:.1e}"),
    "exposure_worst": ("a·x + b, worst", "{:.1e}"),
    "parameters": ("parameters", "{:,.0f}"),
    "step_ms": ("ms a step", "{:.0f}"),
}


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as a table in Markdown."""
    head = ["network", *(title for title, _ in COLUMNS.values())]
    rows = [
        [name, *(form.format(row[key]) if key in row else "" for key, (_, form) in COLUMNS.items())]
        for name, row in results.items()
    ]
    lines = [head, ["---", *["---:"] * len(COLUMNS)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(functions: dict[str, Function], images: int, out: Path) -> None:
    """One patch: what each network makes of it, and what changes when it shifts by a pixel."""
    clean = patches(24, SIZE, 8, test=True)
    clean = jnp.asarray(clean[np.argsort(-clean.std((1, 2, 3)))][:images])
    noisy = clean + NOISE * jax.random.normal(jax.random.key(3), clean.shape)
    shift = lambda x: jnp.roll(x, (1, 1), (1, 2))
    figure, axes = plt.subplots(
        3, len(functions) + 1, figsize=(1.7 * (len(functions) + 1), 5.6), layout="constrained"
    )
    rows = [("clean", clean), ("noisy", noisy)]
    for axis, (title, image) in zip(axes[:, 0], rows, strict=False):
        axis.imshow(image[0, ..., 0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=9)
    for column, (name, f) in zip(axes[:, 1:].T, functions.items(), strict=True):
        y = jax.jit(f)(noisy)
        changed = jnp.abs(jax.jit(f)(shift(noisy)) - shift(y))[0, ..., 0]
        dark = (jax.jit(f)(noisy / 4) * 4)[0, ..., 0]
        column[0].imshow(y[0, ..., 0], cmap="gray", vmin=0, vmax=1)
        column[0].set_title(name.replace(", ", ",\n"), fontsize=9)
        column[1].imshow(dark, cmap="gray", vmin=0, vmax=1)
        column[1].set_title("at ¼ exposure, × 4", fontsize=8)
        column[2].imshow(255 * changed, cmap="magma", vmin=0, vmax=16)
        column[2].set_title(f"largest {255 * float(changed.max()):.2g}", fontsize=8)
    axes[2, 0].text(
        0.5, 0.5, "change when the\npatch is rolled\nby one pixel,\nof 255 grays\n(white: 16)",
        ha="center", va="center", fontsize=9,
    )  # fmt: skip
    for axis in axes.ravel():
        axis.axis("off")
    figure.savefig(out / "patches.png", dpi=110)
    plt.close(figure)


def draw_bars(results: dict[str, dict[str, float]], out: Path) -> None:
    """Circular shifts and crops side by side."""
    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    place = np.arange(len(results))
    for number, (key, label) in enumerate(
        (
            ("circular_mean", "circular shifts"),
            ("crop_mean", "crops: new content at the border"),
            ("translation_worst", "parts of a pixel (worst)"),
            ("exposure_worst", "exposure a·x + b (worst)"),
        )
    ):
        values = [max(row[key], 1e-9) for row in results.values()]
        axis.bar(place + 0.2 * number - 0.3, values, 0.2, label=label)
    axis.set_yscale("log")
    axis.set_ylim(1e-8, 30)
    axis.axhline(1e-5, color="black", linewidth=0.8, linestyle=":")
    axis.text(len(results) - 0.45, 1.2e-5, "rounding", fontsize=8, ha="right")
    axis.set_xticks(place, [name.replace(", ", ",\n") for name in results])
    axis.set_ylabel("relative error")
    axis.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    figure.savefig(out / "errors.png", dpi=110)
    plt.close(figure)


def main(
    *,
    steps: int = 400,
    batch: int = 32,
    images: int = 4,
    seed: int = 0,
    quick: bool = False,
    networks: Sequence[str] = tuple(STYLES),
    out: str | Path = "runs/denoising",
) -> dict[str, dict[str, float]]:
    """Trains and measures every network; returns the table."""
    if quick:
        steps, images = min(steps, 100), min(images, 2)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    functions, results = {}, {}

    def report(name, f, **more):
        functions[name] = f
        results[name] = measure(f, images) | more
        print(table(results).splitlines()[-1], flush=True)

    print(table({}))
    for name in networks:
        model = unet(STYLES[name])
        params, state, milliseconds = train(model, steps, batch, seed)
        f = lambda x, a=model.apply, p=params, s=state: a(p, s, x)[0]
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        report(name, f, parameters=count, step_ms=milliseconds)
    if "zero padding" in networks:
        wrapped = equivariance.make_shift_equivariant(functions["zero padding"])
        report("zero padding, wrapped", wrapped)
    draw(functions, images, folder)
    draw_bars(results, folder)
    (folder / "table.md").write_text(table(results) + "\n")
    print(
        "\nExact is a statement about circular shifts. A crop brings new content in at the border, "
        f"and no network is exact there.\nThe table and pictures are in {folder}."
    )
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32, help="patches a step")
    parser.add_argument(
        "--images", type=int, default=4, help="patches that all shifts are tried on"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="100 steps, 2 patches")
    parser.add_argument("--out", default="runs/denoising", help="folder for table and pictures")
    main(**vars(parser.parse_args()))
