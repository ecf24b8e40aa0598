"""Why a ResNet is not shift-invariant, operation by operation, and the same net mended.

    python examples/audit_resnet.py [--out runs/audit_resnet]

A ResNet-20 with zero padding and strides looks at two real photographs. The audit names the
operations that break invariance, and writes a page with their error maps and a slider. Then the
same net with circular padding is measured: what is left is the strides, and shifts by whole total
strides are exact. Parameters are random: equivariance belongs to the architecture.
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


def main(*, depth: int = 20, size: int = 32, out: str | None = None) -> dict[str, float]:
    x = photos(size)
    metrics = {}
    for mode in ("zeros", "circular"):
        model = jc.models.resnet(depth, 10, padding_mode=mode)
        params, state = model.init(jax.random.key(0), x)

        def classify(x, model=model, params=params, state=state):
            return model.apply(params, state, x)[0]

        found = audit(classify, x)
        print(f"padding_mode={mode!r}: {found}\n")
        whole = shift_error(classify, x, circular_shift(lattice=4), law="invariant")
        print(f"shifts by multiples of 4: {whole}\n")
        metrics[f"{mode}_eps_2"] = max(output.eps_2 for output in found.outputs)
        metrics[f"{mode}_whole_strides"] = whole.worst
        metrics[f"{mode}_c_all"] = consistency(classify, x, action=circular_shift(lattice=4)).c_all
        if out:
            folder = pathlib.Path(out)
            folder.mkdir(parents=True, exist_ok=True)
            audit_page(found, folder / f"{mode}.html")
            print(f"wrote {folder / mode}.html\n")
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--out", default="runs/audit_resnet")
    print(main(**vars(parser.parse_args())))
