"""Audits a Flax model as it is: nothing of it is changed, wrapped or rewritten.

    pip install 'jaxconv[peers]' && python examples/audit_flax.py [--out runs/audit_flax]

The model is a small convolutional classifier as people write it in Flax linen: zero-padded
convolutions, strides, a flatten before the last layer. The audit names each line of this file that
breaks shift invariance, and by how much; the same model with circular padding, and means in place
of strides and flattening, passes.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
from sklearn.datasets import load_sample_image

from jaxconv.equivariance import audit, audit_page, consistency


def flax_linen():
    """Flax linen, or one sentence that says how to install it."""
    try:
        import flax.linen
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "flax":  # Flax is there, but broken
            raise
        raise SystemExit(
            "audit_flax: flax is not installed; expected the extra [peers]. "
            "Got no module 'flax.linen'. Run: pip install 'jaxconv[peers]'."
        ) from None
    return flax.linen


def build(*, mended: bool):
    """The model: as people write it, or mended."""
    nn = flax_linen()
    padding = "CIRCULAR" if mended else "SAME"
    stride = 1 if mended else 2

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(16, (3, 3), padding=padding, name="first")(x))
            x = nn.Conv(32, (3, 3), strides=stride, padding=padding, name="second")(x)
            x = nn.relu(nn.GroupNorm(4, name="norm")(x))
            x = x.mean((1, 2)) if mended else x.reshape(x.shape[0], -1)
            return nn.Dense(10, name="head")(x)

    return Net()


def photos(size: int) -> jax.Array:
    """Two real photographs, cut to squares and made smaller."""
    both = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    square = jnp.stack([jnp.asarray(photo[:420, 100:520]) for photo in both])
    small = jax.image.resize(square.astype(jnp.float32), (2, size, size, 3), "bilinear")
    return small / 255 - 0.5


def main(*, size: int = 32, out: str | None = None) -> dict[str, float]:
    x = photos(size)
    metrics = {}
    for mended in (False, True):
        model = build(mended=mended)
        variables = model.init(jax.random.key(0), x)

        def classify(x, model=model, variables=variables):
            return model.apply(variables, x)

        found = audit(classify, x)
        print(found, "\n")
        name = "mended" if mended else "as_written"
        metrics[name] = max(output.eps_2 for output in found.outputs)
        metrics[f"{name}_c_all"] = consistency(classify, x, shifts=32).c_all
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
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--out", default="runs/audit_flax")
    print(main(**vars(parser.parse_args())))
