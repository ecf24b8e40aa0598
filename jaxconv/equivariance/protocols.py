"""Consistency as published codebases measure it, ranges included, so that figures compare.

The protocols differ in images, pairs and ranges, and their numbers do not compare with each
other. Ranges are those of the code: NumPy's and PyTorch's `randint` leave out the upper end.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxconv import _parse
from jaxconv.equivariance._resampling import crop_shift, translation
from jaxconv.equivariance.actions import Action, circular_shift, zero_shift


class Protocol(NamedTuple):
    """How a codebase draws shifts.

    Attributes:
        name: what it is called here.
        source: whose code, and what it does.
        kind: "circular" (rolls), "ideal" (rolls by parts of a pixel, through the spectrum), "crop"
            (of a larger image), "zero" (zeros enter).
        low: smallest displacement along each axis, in pixels; of a "crop", the smallest offset.
        high: largest, inclusive.
        compare: "pair": two draws with each other; "base": the unshifted image with the others.
        passes: how often every image is drawn for.
        taken: "drawn": one draw a batch; "grid": every shift; "axes": every shift along one axis
            and none along the others, axis by axis.
        crop: size of the crops of a "crop", else None.
        parts: of a pixel, for "ideal": to every displacement k / parts is added, 0 < k < parts.
    """

    name: str
    source: str
    kind: str
    low: int
    high: int
    compare: str = "pair"
    passes: int = 1
    taken: str = "drawn"
    crop: int | None = None
    parts: int = 1


_TABLE = (
    Protocol(
        "lpf-imagenet",
        "antialiased-cnns validate_shift: two 224 crops of the 256 image, one draw a batch",
        *("crop", 0, 31),
        passes=5,
        crop=224,
    ),
    Protocol(
        "aps-cifar",
        "truly_shift_invariant_cnns evaluate_circular: randint(-3, 3), one draw a batch",
        *("circular", -3, 2),
    ),
    Protocol(
        "aps-cifar-crop",
        "truly_shift_invariant_cnns main_crop_shifts: zero-pad 3, then crop",
        *("zero", -3, 2),
    ),
    Protocol(
        "aps-imagenet",
        "truly_shift_invariant_cnns validate: randint(-32, 32), one draw a batch",
        *("circular", -32, 31),
    ),
    Protocol(
        "lps-imagenet",
        "learnable_polyphase_sampling: rolls of the 256 image",
        *("circular", -32, 31),
    ),
    Protocol(
        "lps-imagenet-crop",
        "learnable_polyphase_sampling: 224 crops of the 256 image",
        *("crop", 0, 31),
        crop=224,
    ),
    Protocol("lps-cifar", "learnable_polyphase_sampling: rolls", *("circular", -3, 2)),
    Protocol(
        "lps-cifar-crop",
        "learnable_polyphase_sampling: zero-pad, then crop",
        *("zero", -3, 2),
    ),
    Protocol(
        "afc",
        "alias_free_convnets evaluate_random_shift_metrics: randint(1, 32), never 0",
        *("circular", 1, 31, "base"),
    ),
    Protocol(
        "afc-fractional",
        "alias_free_convnets evaluate_random_shift_metrics, up = 2: half a pixel more",
        *("ideal", 1, 31, "base"),
        parts=2,
    ),
    Protocol(
        "afc-adversarial",
        "alias_free_convnets evaluate_full_adversarial: every shift of the grid",
        *("circular", 1, 31, "base"),
        taken="grid",
    ),
    Protocol(
        "afc-adversarial-half",
        "alias_free_convnets evaluate_full_adversarial, half_shift: (2t - 1) / 2, t from 1 to 31",
        *("ideal", 0, 30, "base"),
        taken="grid",
        parts=2,
    ),
    Protocol(
        "afc-adversarial-crop",
        "alias_free_convnets evaluate_adversarial_crop: 224 crops of the 288 image, never at 0",
        *("crop", 1, 64, "base"),
        taken="grid",
        crop=224,
    ),
    Protocol(
        "tips",
        "tips evaluate_module, circular, m = 3: both ends included",
        *("circular", -3, 3),
    ),
    Protocol(
        "tips-standard",
        "tips evaluate_module, standard, m = 3: the wrapped band is zeroed",
        *("zero", -3, 3),
    ),
    Protocol(
        "lie-deriv",
        "lie-deriv e2e_other: rolls by 0 to 7 pixels along one axis, then along the other",
        *("circular", 0, 7, "base"),
        taken="axes",
    ),
)

PROTOCOLS = {protocol.name: protocol for protocol in _TABLE}
"""Published protocols by name."""


def protocol(name: str) -> Protocol:
    """A published protocol by name.

    Args:
        name: one of `PROTOCOLS`.

    Returns:
        A `Protocol`; `_replace` changes parts of it.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> protocol("aps-cifar").low, protocol("aps-cifar").high
        (-3, 2)
    """
    return PROTOCOLS[_parse.choice("protocol", "name", name, tuple(PROTOCOLS))]


def action_of(plan: Protocol, sizes: Sequence[int]) -> Action:
    """The action that makes a protocol's shifts."""
    if plan.kind == "crop":
        size = plan.crop or sizes[0]
        if min(sizes) < size + plan.high:
            raise ValueError(
                f"consistency: crops of {size} at offsets up to {plan.high} reach beyond an image "
                f"of {min(sizes)} pixels; expected at least {size + plan.high}. Got "
                f"protocol={plan.name!r}. Use larger images, or "
                f"protocol({plan.name!r})._replace(crop=..., high=...)."
            )
        return crop_shift(size)
    return {"circular": circular_shift, "ideal": translation, "zero": zero_shift}[plan.kind]()


def rows_of(plan: Protocol, sizes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """The shifts of one batch: all of them, or one or two that are drawn.

    A crop at offset o displaces its content by m - o from the central one, m half the difference.
    """
    count, parts = len(sizes), range(1, plan.parts) if plan.parts > 1 else range(1)
    span = [n + k / plan.parts for n in range(plan.low, plan.high + 1) for k in parts]
    if plan.taken == "grid":
        rows = np.array(list(itertools.product(span, repeat=count)), float)
    elif plan.taken == "axes":
        rows = np.concatenate([np.outer(span, unit) for unit in np.eye(count)])
    else:
        rows = rng.choice(span, size=(2 if plan.compare == "pair" else 1, count)).astype(float)
    if plan.kind == "crop":
        rows = np.array([(n - (plan.crop or n)) // 2 for n in sizes]) - rows
    if plan.compare == "base":
        rows = np.concatenate([np.zeros((1, count)), rows])
    return rows


def drawn_from(plan: Protocol) -> str:
    """The range of a protocol, whatever of it was drawn."""
    words = f"{'offsets' if plan.kind == 'crop' else 'shifts'} {plan.low} to {plan.high}"
    return words + (f" and parts of {plan.parts}" if plan.parts > 1 else "")
