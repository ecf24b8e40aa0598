"""Why a ResNet is not shift-invariant, operation by operation, and the same net mended.

    python examples/audit_resnet.py [--out runs/audit_resnet]

A ResNet-20 with zero padding and strides looks at two real photographs. The audit names the
operations that break invariance, and writes a page with their error maps and a slider. With
circular padding what is left is the strides: shifts by whole total strides are exact. Mended,
every stride begins at the phase that the image chooses, and every shift is exact. Parameters are
random: equivariance belongs to the architecture.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
from sklearn.datasets import load_sample_image

import jaxconv as jc
from jaxconv.equivariance import audit, audit_page, circular_shift, consistency, shift_error


def photos(size: int) -> jax.Array:
    """Two real photographs, cut to squares and made smaller."""
    both = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    square = jnp.stack([jnp.asarray(photo[:420, 100:520]) for photo in both])
    small = jax.image.resize(square.astype(jnp.float32), (2, size, size, 3), "bilinear")
    return small / 255 - 0.5


NETS = {
    "published": {},
    "circular": {"padding_mode": "circular"},
    "mended": {"padding_mode": "circular", "down": jc.polyphase_down},
}


def main(*, depth: int = 20, size: int = 32, out: str | None = None) -> dict[str, float]:
    x = photos(size)
    metrics = {}
    for name, options in NETS.items():
        model = jc.models.resnet(depth, 10, **options)
        params, state = model.init(jax.random.key(0), x)

        def classify(x, model=model, params=params, state=state):
            return model.apply(params, state, x)[0]

        found = audit(classify, x)
        print(f"{name}: {found}\n")
        every = shift_error(classify, x, law="invariant")
        whole = shift_error(classify, x, circular_shift(lattice=4), law="invariant")
        print(f"every shift: {every}\nshifts by multiples of 4: {whole}\n")
        metrics[f"{name}_every"], metrics[f"{name}_whole_strides"] = every.worst, whole.worst
        metrics[f"{name}_c_all"] = consistency(classify, x).c_all
        if out:
            folder = pathlib.Path(out)
            folder.mkdir(parents=True, exist_ok=True)
            audit_page(found, folder / f"{name}.html")
            print(f"wrote {folder / name}.html\n")
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--out", default="runs/audit_resnet")
    print(main(**vars(parser.parse_args())))
