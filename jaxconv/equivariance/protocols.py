"""Consistency as published codebases measure it, ranges included, so that figures compare.

The protocols differ in images, pairs and ranges, and their numbers do not compare with each
other. Ranges are those of the code: NumPy's and PyTorch's `randint` leave out the upper end.
"""

from typing import NamedTuple

from jaxconv import _parse


class Protocol(NamedTuple):
    """How a codebase draws shifts.

    Attributes:
        name: what it is called here.
        kind: "circular" (rolls), "crop" (of a larger image), "zero" (zeros enter).
        low: smallest displacement along each axis, in pixels.
        high: largest, inclusive.
        compare: "pair": two draws with each other; "base": the unshifted image with one draw.
        passes: how often every image is drawn for.
        exhaustive: whether every shift is taken instead of one drawn per batch.
        crop: size of the crops of a "crop", else None.
        source: whose code, and what it does.
    """

    name: str
    kind: str
    low: int
    high: int
    compare: str
    passes: int
    exhaustive: bool
    crop: int | None
    source: str


_TABLE = (
    Protocol(
        "lpf-imagenet",
        "crop",
        0,
        31,
        "pair",
        5,
        False,
        224,
        "antialiased-cnns validate_shift: two 224 crops of the 256 image, one draw a batch",
    ),
    Protocol(
        "aps-cifar",
        "circular",
        -3,
        2,
        "pair",
        1,
        False,
        None,
        "truly_shift_invariant_cnns evaluate_circular: randint(-3, 3), one draw a batch",
    ),
    Protocol(
        "aps-cifar-crop",
        "zero",
        -3,
        2,
        "pair",
        1,
        False,
        None,
        "truly_shift_invariant_cnns main_crop_shifts: zero-pad 3, then crop",
    ),
    Protocol(
        "aps-imagenet",
        "circular",
        -32,
        31,
        "pair",
        1,
        False,
        None,
        "truly_shift_invariant_cnns validate: randint(-32, 32), one draw a batch",
    ),
    Protocol(
        "lps-imagenet",
        "circular",
        -32,
        31,
        "pair",
        1,
        False,
        None,
        "learnable_polyphase_sampling: rolls of the 256 image",
    ),
    Protocol(
        "lps-imagenet-crop",
        "crop",
        0,
        31,
        "pair",
        1,
        False,
        224,
        "learnable_polyphase_sampling: 224 crops of the 256 image",
    ),
    Protocol(
        "lps-cifar",
        "circular",
        -3,
        2,
        "pair",
        1,
        False,
        None,
        "learnable_polyphase_sampling: rolls",
    ),
    Protocol(
        "lps-cifar-crop",
        "zero",
        -3,
        2,
        "pair",
        1,
        False,
        None,
        "learnable_polyphase_sampling: zero-pad, then crop",
    ),
    Protocol(
        "afc",
        "circular",
        1,
        31,
        "base",
        1,
        False,
        None,
        "alias_free_convnets evaluate_random_shift_metrics: never 0",
    ),
    Protocol(
        "afc-adversarial",
        "circular",
        1,
        31,
        "base",
        1,
        True,
        None,
        "alias_free_convnets evaluate_full_adversarial: every shift of the grid",
    ),
    Protocol(
        "tips",
        "circular",
        -3,
        3,
        "pair",
        1,
        False,
        None,
        "tips evaluate_module, circular, m = 3: both ends included",
    ),
    Protocol(
        "tips-standard",
        "zero",
        -3,
        3,
        "pair",
        1,
        False,
        None,
        "tips evaluate_module, standard, m = 3: the wrapped band is zeroed",
    ),
    Protocol(
        "lie-deriv",
        "circular",
        0,
        7,
        "base",
        1,
        True,
        None,
        "lie-deriv e2e_other: rolls by 0 to 7 pixels",
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
