"""Where a gather reads and a scatter writes: flat places in the operand, for constant indices."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def gathered_places(
    params: dict[str, Any], shape: Sequence[int], index: np.ndarray, out: Sequence[int]
) -> np.ndarray:
    """Flat place in an operand of `shape` that every output element reads; -1 for the fill."""
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    removed = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    kept = [axis for axis in range(len(shape)) if axis not in removed]
    window = dict(zip(kept, numbers.offset_dims, strict=True))
    batching = numbers.operand_batching_dims, numbers.start_indices_batching_dims
    return _places(
        shape, index, out, sizes, window, numbers.start_index_map, batching, _mode(params)
    )


def scattered_places(
    params: dict[str, Any], shape: Sequence[int], index: np.ndarray, updates: Sequence[int]
) -> np.ndarray:
    """Flat place in an operand of `shape` that every update writes; -1 where it is dropped."""
    numbers = params["dimension_numbers"]
    removed = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    kept = [axis for axis in range(len(shape)) if axis not in removed]
    window = dict(zip(kept, numbers.update_window_dims, strict=True))
    sizes = [updates[window[axis]] if axis in window else 1 for axis in range(len(shape))]
    batching = numbers.operand_batching_dims, numbers.scatter_indices_batching_dims
    mapped = numbers.scatter_dims_to_operand_dims
    return _places(shape, index, updates, sizes, window, mapped, batching, _mode(params))


def _mode(params: dict[str, Any]) -> str:
    text = str(params["mode"])
    return "drop" if "FILL" in text else "clip"


def _places(
    shape: Sequence[int],
    index: np.ndarray,
    out: Sequence[int],
    sizes: Sequence[int],
    window: dict[int, int],
    mapped: Sequence[int],
    batching: tuple[Sequence[int], Sequence[int]],
    mode: str,
) -> np.ndarray:
    """Row-major places of out[...] in `shape`; `window` maps operand axes to axes of out."""
    grid = np.indices(tuple(out), sparse=True)
    batch = [grid[d] for d in range(len(out)) if d not in window.values()]
    index = index.astype(np.int64)
    valid = np.ones((1,) * len(out), bool)
    place = np.zeros((1,) * len(out), np.int64)
    for axis, size in enumerate(shape):
        here = np.zeros((1,) * len(out), np.int64)
        if axis in mapped:
            start = index[(*batch, mapped.index(axis))]
            last = size - sizes[axis]
            if mode == "drop":
                valid = valid & (start >= 0) & (start <= last)
            here = here + np.clip(start, 0, last)
        if axis in batching[0]:
            here = here + batch[batching[1][batching[0].index(axis)]]
        if axis in window:
            here = here + grid[window[axis]]
        place = place * size + here
    return np.broadcast_to(np.where(valid, place, -1), tuple(out))
