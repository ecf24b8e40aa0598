"""Operations that move entries about: reshape, slice, reverse, pad, concatenate, index."""

import math

import numpy as np

from jaxconv.equivariance._sight.algebra import Sight, band
from jaxconv.equivariance._sight.step import Step


def reshape(step: Step) -> Sight | None:
    """Axes merge and split; the index that moves the window is a part of one of the new axes.

    A flat index is (outer · count + i) · inner + r, and i moves the window.
    """
    sight, shape = step.sights[0], step.inside(0)
    if sight is None or sight.axis is None or 0 in shape:
        return sight
    a = sight.axis
    inner, count = sight.part or (1, shape[a])
    outer = math.prod(shape[:a]) * (shape[a] // (inner * count))
    inner *= math.prod(shape[a + 1 :])
    nearest = sorted(range(len(step.shape)), key=lambda axis: abs(axis - a))
    for axis in nearest:  # axes of size 1 fit anywhere
        size = step.shape[axis]
        before, after = math.prod(step.shape[:axis]), math.prod(step.shape[axis + 1 :])
        if outer % before == 0 and inner % after == 0 and size % count == 0:
            part = None if size == count else (inner // after, count)
            return sight._replace(axis=axis, part=part)
        if outer == before and 1 < size < count and count % size == 0:  # the outer part of i
            times = count // size
            sight = sight._replace(axis=axis, part=None)
            return sight.spread(0, times - 1).taken(0, times)
    return step.stilled(0)


def slice_(step: Step) -> Sight | None:
    sight = step.sights[0]
    if sight is None or sight.axis is None:
        return sight
    strides = step.params["strides"] or (1,) * len(step.shape)
    return sight.taken(step.params["start_indices"][sight.axis], strides[sight.axis])


def split(step: Step) -> list[Sight | None]:
    sight, start, parts = step.sights[0], 0, []
    for size in step.params["sizes"]:
        moves = sight is not None and sight.axis == step.params["axis"]
        parts.append(sight.taken(start) if sight is not None and moves else sight)
        start += size
    return parts


def stack(step: Step) -> Sight | None:
    """Operands next to each other along a new axis."""
    new = step.params["axis"]
    sights = [
        sight if sight is None or sight.axis is None else sight.at(sight.axis + (sight.axis >= new))
        for sight in step.sights
    ]
    return step.joined(sights)


def unstack(step: Step) -> Sight | None:
    """One result per entry of an axis; they share a bound."""
    sight, gone = step.sights[0], step.params["axis"]
    if sight is None or sight.axis is None:
        return sight
    return step.stilled(0) if sight.axis == gone else sight.at(sight.axis - (sight.axis > gone))


def tile(step: Step) -> Sight | None:
    """Copies one after the other."""
    sight = step.sights[0]
    if sight is None or sight.axis is None:
        return sight
    axis = sight.axis + len(step.shape) - len(step.inside(0))
    return sight.at(axis) if step.shape[axis] == step.size else step.stilled(0)


def rev(step: Step) -> Sight | None:
    sight = step.sights[0]
    if sight is None or sight.axis not in step.params["dimensions"]:
        return sight
    return sight.taken(step.size - 1, -1)


def pad(step: Step) -> Sight | None:
    sight = step.sights[0]
    if sight is not None and sight.axis is not None:
        low, _, interior = step.params["padding_config"][sight.axis]
        sight = sight.zoomed(interior + 1).taken(-int(low))
    return step.with_others(sight)


def concatenate(step: Step) -> Sight | None:
    """Pieces along the axis of the window: the largest one leads, the others are its border."""
    axis = step.params["dimension"]
    starts = np.cumsum([0, *(step.inside(number)[axis] for number in range(len(step.sights)))])
    moving = [n for n, sight in enumerate(step.sights) if sight is not None and sight.axis == axis]
    if not moving:
        return step.joined(step.sights)
    main = max(moving, key=lambda number: step.inside(number)[axis])
    lead = step.sights[main]
    assert lead is not None
    lead = lead.taken(-int(starts[main]))
    for number, sight in enumerate(step.sights):
        size = step.inside(number)[axis]
        if sight is None or number == main or size == 0:
            continue
        if not _continues(lead.taken(int(starts[number])), sight, size, step.pixels):
            return step.joined([step.stilled(number) for number in range(len(step.sights))])
    return lead


def _continues(lead: Sight, piece: Sight, size: int, pixels: int) -> bool:
    """Whether a piece continues the leading one as padding does.

    Circular: it sees the pixels that the lead would see, whole turns of the input away. Reflect
    and edge: it sees none farther than its own length, and the lead's window, inside the border.
    """
    turn = piece.low - lead.low
    if piece.axis is not None and piece.stride == lead.stride and turn % pixels == 0:
        return piece.high - piece.low <= lead.high - lead.low
    reach = abs(lead.stride) * (size + 1) + lead.high - lead.low
    hull, ahead = piece.still(size, pixels), lead.spread(0, size - 1)
    if hull is None:
        return True
    return (
        hull.low >= ahead.low - reach
        and hull.high <= ahead.high + reach
        and (ahead.low <= 0 or ahead.high >= pixels - 1)
    )


def gather(step: Step) -> Sight | None:
    """Indexing: an axis taken whole stays; one that is indexed by known numbers is a band."""
    sight, numbers = step.sights[0], step.params["dimension_numbers"]
    if sight is None or sight.axis is None:
        return step.with_others(sight)
    a = sight.axis
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    if a not in gone:
        kept = [axis for axis in range(len(step.inside(0))) if axis not in gone]
        if step.params["slice_sizes"][a] == step.size:
            return step.with_others(sight.at(numbers.offset_dims[kept.index(a)]))
        return step.with_others(step.stilled(0))
    indices = step.concrete(step.equation.inputs[1])
    batch = [axis for axis in range(len(step.shape)) if axis not in numbers.offset_dims]
    if indices is None or indices.shape[-1] != 1 or len(batch) != 1:
        return step.with_others(step.stilled(0))
    sees = np.clip(indices.reshape(-1), 0, step.size - 1)[:, None] == np.arange(step.size)
    seen = band(sight, sees, step.pixels)
    return seen and (seen.at(batch[0]) if seen.stride else seen)


def dynamic_slice(step: Step) -> Sight | None:
    """A cut whose place is known only when the program runs, unless it is the whole axis."""
    sight = step.sights[0]
    if sight is None or sight.axis is None or step.shape[sight.axis] == step.size:
        return step.with_others(sight)
    place = step.concrete(step.equation.inputs[1 + sight.axis])
    return step.with_others(step.stilled(0) if place is None else sight.taken(int(place)))
