"""What the audit's page shows, as plain numbers and strings; nothing in it is markup."""

import base64
import io
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _table

if TYPE_CHECKING:
    from jaxconv.equivariance.audit import Audit

_LARGEST_MAP = 64
"""Pixels along an axis of a heat map; larger maps keep the largest error of each cell."""


def png(pixels: np.ndarray) -> str:
    """An RGB image (height, width, 3) of bytes as a data URL; no library needed.

    References:
        W3C, Portable Network Graphics (third edition), sections 5.3 and 11.2.
    """
    height, width = pixels.shape[:2]
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    rows = b"".join(b"\0" + pixels[i].astype(np.uint8).tobytes() for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")):
        check = zlib.crc32(kind + body)
        out.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check))
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def image(x: Any) -> np.ndarray | None:
    """The first image of the first input as bytes (height, width, 3); None where it has none.

    That is for other ranks, without a channel, and for numbers that are not finite.
    """
    leaf = np.asarray(jax.tree.leaves(x)[0]).astype(np.float32)
    if leaf.ndim != 4 or not leaf.size or not np.isfinite(leaf[0]).all():
        return None
    first = leaf[0][..., :3] if leaf.shape[-1] >= 3 else leaf[0][..., :1].repeat(3, -1)
    low, high = float(first.min()), float(first.max())
    return ((first - low) / max(high - low, 1e-12) * 255).astype(np.uint8)


def coarse(error_map: np.ndarray) -> np.ndarray:
    """A heat map of at most 64 cells a side, each with the largest error in it."""
    for axis in (0, 1):
        size = error_map.shape[axis]
        step = -(-size // _LARGEST_MAP)
        starts = np.arange(0, size, step)
        error_map = np.maximum.reduceat(error_map, starts, axis=axis)
    return error_map


def heat(error_map: np.ndarray) -> np.ndarray:
    """Errors as colors, white for none to dark red for the largest value of the array and more."""
    level = np.clip(np.asarray(error_map, float), 0, 1) ** 0.5
    stops = np.array([[255, 255, 255], [253, 212, 158], [239, 101, 72], [127, 0, 0]], float)
    place = np.nan_to_num(level, nan=0.0) * 3
    low = np.minimum(place.astype(int), 2)
    part = (place - low)[..., None]
    return (stops[low] * (1 - part) + stops[low + 1] * part).astype(np.uint8)


def rows(found: "Audit") -> list[dict[str, Any]]:
    """The table's rows."""
    out = []
    for operation in found.operations:
        drawn = operation.heat_map
        cells = _table.cells(operation)
        out.append(
            {
                "cells": [operation.path, *cells[1:]],
                "file": operation.file,
                "mark": "guilty" if operation.guilty else "also" if operation.also else "",
                "error": _finite(operation.eps_2),
                "lie": _finite(operation.lie),
                "added": _table.number(operation.added, signed=True),
                "map": None if drawn is None else png(heat(coarse(drawn))),
            }
        )
    return out


def _finite(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else float(value)


def predictions(found: "Audit", steps: int) -> dict[str, Any] | None:
    """Scores of the first image under shifts along one axis: what the slider moves through.

    Only for one input of images and an output (N, classes) of finite real numbers.
    """
    leaves = jax.tree.leaves(found.x)
    if len(leaves) != 1 or leaves[0].ndim != 4:
        return None
    shapes = jax.tree.leaves(jax.eval_shape(found.f, found.x))
    if len(shapes) != 1 or len(shapes[0].shape) != 2 or shapes[0].shape[0] != len(leaves[0]):
        return None
    if 0 in shapes[0].shape or jnp.issubdtype(shapes[0].dtype, jnp.complexfloating):
        return None
    x = leaves[0]
    count = min(steps, x.shape[2])
    shifts = np.unique(np.linspace(0, x.shape[2] - 1, count).round().astype(int))

    def scores(x, shifts):
        def one(shift):
            index = jnp.mod(jnp.arange(x.shape[2]) - shift, x.shape[2])
            return found.f(jnp.take(x, index, axis=2, mode="clip"))[0]

        return jax.lax.map(one, shifts)

    found_scores = np.asarray(jax.jit(scores)(x, jnp.asarray(shifts)), np.float64)
    if not np.isfinite(found_scores).all():
        return None
    exponent = np.exp(found_scores - found_scores.max(-1, keepdims=True))
    softmax = exponent / exponent.sum(-1, keepdims=True)
    top = np.argsort(-softmax[0])[:5]
    others = [c for c in np.unique(softmax.argmax(-1)) if c not in top]
    shown = [int(c) for c in (*top, *others)]
    return {
        "shifts": shifts.tolist(),
        "classes": shown,
        "scores": softmax[:, shown].round(5).tolist(),
        "first": softmax.argmax(-1).tolist(),
        "width": int(x.shape[2]),
    }
