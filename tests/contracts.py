"""What the "Equivariance:" section of every layer's docstring says, as data.

A contract is a layer with its arguments, an input, and what a circular shift of one axis of the
input does to the output: `promise(size)` for an axis of that size.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxconv import Layer, layers

MODES = ("zeros", "circular", "reflect", "edge")
SIZES = {1: (24,), 2: (12, 18), 3: (6, 12, 6)}


class Promise(NamedTuple):
    """Kind of law; an input shift of `shift` moves the output by `roll`."""

    kind: str
    shift: int = 1
    roll: int = 1


EXACT, INVARIANT, NONE = Promise("equivariant"), Promise("invariant"), Promise("none")


class Contract(NamedTuple):
    """A layer, the sizes of its input, and its promise for an axis of a size."""

    name: str
    layer: Layer
    sizes: tuple[int, ...]
    promise: Callable[[int], Promise]
    train: bool = False
    words: str = ""
    batch: int = 2

    @property
    def id(self):
        return f"{self.name}-{len(self.sizes)}d-{self.words}" + ("-train" if self.train else "")


def windowed(stride, mode):
    """Whole strides if they divide the input and borders are circular or unseen; else inside."""

    def promise(size):
        unseen = (-(-size // stride) - 1) * stride + 3 <= size  # no window of 3 needs padding
        exact = size % stride == 0 and (mode == "circular" or unseen)
        return Promise("equivariant" if exact else "interior", stride, 1)

    return promise


WINDOWED = {
    "conv": lambda **options: layers.conv(2, 3, **options),
    "depthwise_conv": lambda **options: layers.depthwise_conv(3, **options),
    "separable_conv": lambda **options: layers.separable_conv(2, 3, **options),
    "max_pool": lambda **options: layers.max_pool(3, padding="same", **options),
    "min_pool": lambda **options: layers.min_pool(3, padding="same", **options),
    "avg_pool": lambda **options: layers.avg_pool(3, padding="same", **options),
    "lp_pool": lambda **options: layers.lp_pool(3, padding="same", **options),
}

BLURRED = {
    "blur_pool": layers.blur_pool,
    "max_blur_pool": lambda **options: layers.max_blur_pool(3, taps=4, **options),
}

POINTWISE = {
    "activation": lambda: layers.activation(jax.nn.relu),
    "dense": lambda: layers.dense(3),
    "layer_norm": layers.layer_norm,
    "batch_norm": layers.batch_norm,
    "group_norm": lambda: layers.group_norm(2),
    "instance_norm": layers.instance_norm,
    "alias_free_norm": layers.alias_free_norm,
    "filtered_polynomial": layers.filtered_polynomial,
    "squeeze_excite": lambda: layers.squeeze_excite(2),
    "sort_pool": layers.sort_pool,
    "affine_residual": lambda: layers.affine_residual(layers.sort_pool()),
    "dropout": lambda: layers.dropout(0.5),
    "drop_path": lambda: layers.drop_path(0.5),
}

CONTRACTS = [
    *(
        Contract(
            name,
            make(stride=stride, padding_mode=mode),
            SIZES[rank],
            windowed(stride, mode),
            words=f"{mode}-{stride}",
        )
        for (name, make), mode, stride, rank in itertools.product(
            WINDOWED.items(), MODES, (1, 2, 3), (1, 2, 3)
        )
    ),
    *(
        Contract(name, make(stride=5, padding_mode="edge"), (24,), windowed(5, "edge"))
        for name, make in WINDOWED.items()
    ),
    *(
        Contract(
            name,
            make(stride=stride, padding_mode=mode),
            SIZES[rank],
            lambda size, mode=mode, stride=stride: Promise(
                "equivariant" if mode == "circular" else "interior", stride
            ),
            words=f"{mode}-{stride}",
        )
        for (name, make), mode, stride, rank in itertools.product(
            BLURRED.items(), ("circular", "reflect"), (1, 2, 3), (1, 2)
        )
    ),
    # One axis would be measured here, and no shift is refuted: those within a stride hold as well,
    # up to a roll that depends on x. test_polyphase.py measures them all. In a batch of one that is
    # proved, for choices among 16 phases at most.
    *(
        Contract(
            "affine_conv",
            layers.affine_conv(2, 3, stride=stride, padding_mode=mode),
            SIZES[rank],
            windowed(stride, mode),
            words=f"{mode}-{stride}",
        )
        for stride, rank, mode in itertools.product((1, 2), (1, 2), ("circular", "reflect"))
    ),
    *(
        Contract(
            "polyphase_down",
            layers.polyphase_down(stride),
            SIZES[rank],
            lambda size, stride=stride: Promise("equivariant", stride),
            words=str(stride),
        )
        for stride, rank in itertools.product((2, 3), (2, 3))
    ),
    *(
        Contract(
            "polyphase_down",
            layers.polyphase_down(stride),
            SIZES[2],
            lambda size: Promise("adaptive"),
            words=f"{stride}-one",
            batch=1,
        )
        for stride in (2, 3)
    ),
    Contract(
        "polyphase_around",
        layers.polyphase_around(layers.conv(2, 3, padding_mode="circular"), 2),
        SIZES[2],
        lambda size: EXACT,
        words="2-one",
        batch=1,
    ),
    Contract(
        "polyphase_down",
        layers.polyphase_down(2, scorer=layers.phase_scorer(2)),
        SIZES[2],
        lambda size: Promise("equivariant", 2),
        words="learned",
    ),
    *(
        Contract(
            "polyphase_around",
            layers.polyphase_around(layers.conv(2, 3, padding_mode="circular"), stride),
            SIZES[rank],
            lambda size, stride=stride: Promise("equivariant", stride, stride),
            words=str(stride),
        )
        for stride, rank in itertools.product((2, 3), (2, 3))
    ),
    *(
        Contract(
            "conv_transpose",
            layers.conv_transpose(2, 3, stride=stride, padding_mode=mode),
            SIZES[rank],
            lambda size, mode=mode, stride=stride: Promise(
                "equivariant" if mode == "circular" or stride >= 3 else "interior", 1, stride
            ),
            words=f"{mode}-{stride}",
        )
        for mode, stride, rank in itertools.product(MODES[:2], (1, 2, 3), (1, 2, 3))
    ),
    *(
        Contract(
            name,
            getattr(layers, name)(factor),
            SIZES[rank],
            lambda size, law=law: INVARIANT if size < 3 * law[0] else Promise("equivariant", *law),
            words=str(factor),
        )
        for rank, factor in ((1, 2), (1, 3), (2, 3), (3, 2))
        for name, law in (("ideal_down", (factor, 1)), ("ideal_up", (1, factor)))
    ),
    *(
        Contract(
            "pad",
            layers.pad(2, padding_mode=mode),
            SIZES[rank],
            lambda size, mode=mode: Promise("permuted" if mode == "zeros" else "interior"),
            words=mode,
        )
        for mode, rank in itertools.product(MODES, (1, 2, 3))
    ),
    *(
        Contract(name, make(), SIZES[rank], lambda size: EXACT)
        for (name, make), rank in itertools.product(POINTWISE.items(), (1, 2, 3))
    ),
    *(
        Contract(name, POINTWISE[name](), SIZES[2], lambda size: EXACT, train=True)
        for name in ("batch_norm", "drop_path")
    ),
    Contract(
        "dropout",
        layers.dropout(0.5, whole_channels=True),
        SIZES[2],
        lambda size: EXACT,
        train=True,
        words="whole",
    ),
    Contract("dropout", layers.dropout(0.5), SIZES[2], lambda size: NONE, train=True),
    *(
        Contract(
            "upsample",
            layers.upsample(2, method),
            SIZES[rank],
            lambda size, method=method: Promise(
                "equivariant" if method == "nearest" else "interior", 1, 2
            ),
            words=method,
        )
        for method, rank in itertools.product(("nearest", "bilinear"), (1, 2, 3))
    ),
    *(
        Contract(name, make(scale), SIZES[rank], lambda size, law=law: law, words=str(scale))
        for rank, scale in itertools.product((1, 2, 3), (2, 3))
        for name, make, law in (
            ("pixel_shuffle", layers.pixel_shuffle, Promise("equivariant", 1, scale)),
            ("pixel_unshuffle", layers.pixel_unshuffle, Promise("permuted")),
        )
    ),
    *(
        Contract(name, getattr(layers, name)(), SIZES[rank], lambda size: INVARIANT)
        for name, rank in itertools.product(
            ("global_avg_pool", "global_max_pool", "phase_scorer"), (1, 2, 3)
        )
    ),
    *(
        Contract(
            name,
            getattr(layers, name)(3),
            SIZES[rank],
            lambda size: Promise("equivariant", size // 3, 1),
            words="divides",
        )
        for name, rank in itertools.product(("adaptive_avg_pool", "adaptive_max_pool"), (1, 2, 3))
    ),
    *(
        Contract(name, getattr(layers, name)(5), (24,), lambda size: NONE, words="does not")
        for name in ("adaptive_avg_pool", "adaptive_max_pool")
    ),
    *(
        Contract("local_conv", layers.local_conv(2, 3), SIZES[rank], lambda size: NONE)
        for rank in (1, 2)
    ),
    *(
        Contract("flatten", layers.flatten(), SIZES[rank], lambda size: Promise("permuted"))
        for rank in (1, 2, 3)
    ),
]
