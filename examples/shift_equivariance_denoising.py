"""Denoises real photos with U-Nets that do, and do not, commute with shifts and exposures.

    pip install -e ".[examples]" && python examples/shift_equivariance_denoising.py --quick

Five networks trained by one recipe, and a wrapper. A denoiser should not care where the photo
starts: when it shifts, the result should shift, or video flickers. Nor should it care how the photo
was exposed: a·x + b should come out as a·y + b, or it serves the one exposure it was trained with.
Every error is measured twice: for circular shifts, where exact means exact, and for crops, where
new content enters at the border and no network is exact.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_sample_image

import jaxconv as jc
from _denoising_networks import STYLES, unet
from _denoising_page import Function, draw, draw_bars, table
from jaxconv import equivariance

SIZE, MARGIN, NOISE = 32, 4, 25 / 255
FEATURES = (8, 16, 32)
EXPOSURES = ((0.1, 0.5, 2.0, 10.0), (-10.0, -0.5, 0.0, 1.0, 10.0))


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


def contrasty(images: int) -> tuple[jax.Array, jax.Array]:
    """The patches with most contrast among some to test, clean and noisy."""
    clean = patches(24, SIZE, 8, test=True)
    clean = jnp.asarray(clean[np.argsort(-clean.std((1, 2, 3)))][:images])
    return clean, clean + NOISE * jax.random.normal(jax.random.key(3), clean.shape)


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
        model = unet(STYLES[name], FEATURES)
        params, state, milliseconds = train(model, steps, batch, seed)
        f = lambda x, a=model.apply, p=params, s=state: a(p, s, x)[0]
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        report(name, f, parameters=count, step_ms=milliseconds)
    if "zero padding" in networks:
        wrapped = equivariance.make_shift_equivariant(functions["zero padding"])
        report("zero padding, wrapped", wrapped)
    draw(functions, *contrasty(images), folder)
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
