"""The operations that are raced: one table of shapes, and what is expected of each."""

import math
from typing import Any, NamedTuple

PASSES = ("forward", "input gradient", "kernel gradient")


class Case(NamedTuple):
    """One operation on one shape.

    Attributes:
        name: what it is called in tables.
        kind: "conv", "conv_transpose", "vmap_conv", "max_pool" or "avg_pool".
        x: shape of the input, (N, *spatial, C); of "vmap_conv" (B, N, *spatial, C).
        window: taps per spatial axis.
        features: output channels; 0 for a pool.
        stride: one for all axes.
        dilation: likewise.
        padding: (low, high) per axis.
        groups: into which the channels are split.
        bars: for a pass, or "both gradients", the least XLA / ours and the most ours / torch.
    """

    name: str
    kind: str
    x: tuple[int, ...]
    window: tuple[int, ...]
    features: int = 0
    stride: int = 1
    dilation: int = 1
    padding: tuple[tuple[int, int], ...] = ()
    groups: int = 1
    bars: dict[str, tuple[float | None, float | None]] = {}

    @property
    def kernel(self) -> tuple[int, ...]:
        """Its shape, (*window, C / groups, features); transposed, (*window, features, C)."""
        channels = self.x[-1]
        if self.kind == "conv_transpose":
            return (*self.window, self.features // self.groups, channels)
        shape = (*self.window, channels // self.groups, self.features)
        return (self.x[0], *shape) if self.kind == "vmap_conv" else shape

    @property
    def passes(self) -> tuple[str, ...]:
        """What is timed of it: a pool has no kernel."""
        return PASSES[:2] if "pool" in self.kind else PASSES

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the output."""
        lead = 2 if self.kind == "vmap_conv" else 1
        spatial = self.x[lead:-1]
        axes = zip(spatial, self.window, self.padding, strict=True)
        s, d = self.stride, self.dilation
        if self.kind == "conv_transpose":
            sizes = [(n - 1) * s + d * (k - 1) + 1 - sum(p) for n, k, p in axes]
        else:
            sizes = [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, p in axes]
        return (*self.x[:lead], *sizes, self.features or self.x[-1])

    @property
    def flops(self) -> int:
        """Multiplications and additions of one pass."""
        if "pool" in self.kind:
            return math.prod(self.output) * math.prod(self.window)
        pixels = self.x if self.kind == "conv_transpose" else self.output
        others = self.features if self.kind == "conv_transpose" else self.x[-1]
        return 2 * math.prod(pixels) * math.prod(self.window) * others // self.groups

    def bytes(self, which: str, itemsize: int = 4) -> int:
        """Least traffic of a pass: each operand read once, the result written once.

        The gradient of a max pool is timed with its forward pass, which writes the output too.
        """
        x, y = math.prod(self.x), math.prod(self.output)
        kernel = 0 if "pool" in self.kind else math.prod(self.kernel)
        total = x + y + kernel
        if self.kind == "max_pool" and which == "input gradient":
            total = 2 * (x + y)
        return itemsize * total

    def as_dict(self) -> dict[str, Any]:
        """What another process needs to build the same case."""
        return {**self._asdict(), "bars": {}, "kernel": self.kernel, "output": self.output}


def half(window: tuple[int, ...], dilation: int = 1) -> tuple[tuple[int, int], ...]:
    """Padding that keeps the size at stride 1, as PyTorch users write it."""
    return tuple((dilation * (k // 2),) * 2 for k in window)


def _conv(name, x, features, window, *, groups=1, stride=1, dilation=1, padding=None, bars=None):
    padding = half(window, dilation) if padding is None else padding
    return Case(name, "conv", x, window, features, stride, dilation, padding, groups, bars or {})


def _depthwise(size, x, *, window=None, multiplier=1, bars=None, **options):
    channels, spatial = x[-1], x[1:-1]
    window = window or (size,) * len(spatial)
    extra = "".join(
        f" {short}{options[long]}" for long, short in (("stride", "s"), ("dilation", "d"))
        if long in options
    )  # fmt: skip
    times = f" x{multiplier}" if multiplier > 1 else ""
    name = f"depthwise {'x'.join(map(str, window))}{extra} {channels}@{spatial[0]}{times} b{x[0]}"
    return _conv(
        name, x, channels * multiplier, window, groups=channels, bars=bars, **options
    )  # fmt: skip


def _pool(kind, window, stride, pad, x, bars=None):
    name = f"{kind} pool {window}x{window} s{stride} {x[-1]}@{x[1]} b{x[0]}"
    padding = ((pad, pad),) * 2
    return Case(name, f"{kind}_pool", x, (window,) * 2, 0, stride, 1, padding, 1, bars or {})


def _causal(taps, channels, length, batch):
    name = f"causal conv1d k{taps} {channels}@{length} b{batch}"
    x, pad = (batch, length, channels), ((taps - 1, 0),)
    return _conv(name, x, channels, (taps,), groups=channels, padding=pad)


def _transposed(window, x, features, pad):
    name = f"transposed {window}x{window} s2 {x[-1]}-{features}@{x[1]} b{x[0]}"
    padding = ((pad, pad),) * 2
    return Case(name, "conv_transpose", x, (window,) * 2, features, 2, 1, padding)


def _per_example(channels, features, x):
    name = f"per-example 3x3 {channels}-{features}@{x[2]} b{x[0]}"
    return Case(name, "vmap_conv", x, (3, 3), features, padding=half((3, 3)))


_POOL_BAR = {"input gradient": (15.0, 1.0)}
CASES = (
    _depthwise(
        3,
        (8, 28, 28, 256),
        bars={
            "forward": (50.0, 2.5),
            "input gradient": (50.0, 1.5),
            "kernel gradient": (50.0, 3.0),
        },
    ),
    _depthwise(7, (4, 56, 56, 96), bars={"kernel gradient": (None, 1.0)}),
    _depthwise(5, (8, 28, 28, 240), bars={"kernel gradient": (None, 1.0)}),
    _depthwise(3, (8, 56, 56, 128), stride=2),
    _depthwise(3, (8, 28, 28, 256), dilation=2),
    _depthwise(3, (8, 28, 28, 64), multiplier=2),
    _depthwise(3, (7, 29, 29, 97)),
    _depthwise(3, (1, 31, 31, 17)),
    _depthwise(3, (2, 16, 16, 16, 64)),
    _causal(4, 512, 2048, 4),
    _causal(31, 256, 1024, 8),
    _conv(
        "grouped 3x3 g32 128@28 b8",
        (8, 28, 28, 128),
        128,
        (3, 3),
        groups=32,
        bars={
            "forward": (None, 2.5),
            "both gradients": (150.0, 2.5),
        },
    ),
    _conv("grouped 3x3 s2 g32 256@28 b8", (8, 28, 28, 256), 256, (3, 3), groups=32, stride=2),
    _conv("grouped 3x3 g7 91@29 b3", (3, 29, 29, 91), 91, (3, 3), groups=7),
    _conv("1x1 256-256@28 b8", (8, 28, 28, 256), 256, (1, 1)),
    _conv("1x1 s2 256-512@28 b8", (8, 28, 28, 256), 512, (1, 1), stride=2),
    _conv("stem 5x5 1-6@28 b128", (128, 28, 28, 1), 6, (5, 5)),
    _conv("stem 3x3 1-32@28 b64", (64, 28, 28, 1), 32, (3, 3)),
    _conv("stem 3x3 s2 3-32@224 b4", (4, 224, 224, 3), 32, (3, 3), stride=2),
    _conv("stem 7x7 s2 3-64@224 b4", (4, 224, 224, 3), 64, (7, 7), stride=2),
    _conv(
        "patches 4x4 s4 3-96@224 b4", (4, 224, 224, 3), 96, (4, 4), stride=4, padding=((0, 0),) * 2
    ),
    _conv("dense 3x3 64-64@56 b8", (8, 56, 56, 64), 64, (3, 3)),
    _conv("dense 3x3 16-16@32 b64", (64, 32, 32, 16), 16, (3, 3)),
    _conv("dense 3x3 s2 64-128@56 b8", (8, 56, 56, 64), 128, (3, 3), stride=2),
    _conv("dense 3x3 512-512@7 b8", (8, 7, 7, 512), 512, (3, 3)),
    _conv("dense 3x3 512-512@2 b8", (8, 2, 2, 512), 512, (3, 3)),
    _conv("dense 3x3 61-67@29 b1", (1, 29, 29, 61), 67, (3, 3)),
    _conv("dense 3x3x3 16-32@16 b2", (2, 16, 16, 16, 16), 32, (3, 3, 3)),
    _transposed(2, (8, 28, 28, 128), 64, 0),
    _transposed(4, (8, 28, 28, 64), 64, 1),
    _per_example(16, 16, (16, 1, 32, 32, 16)),
    _pool("max", 2, 2, 0, (8, 56, 56, 64), _POOL_BAR),
    _pool("max", 3, 2, 1, (4, 112, 112, 64), _POOL_BAR),
    _pool("max", 3, 1, 1, (8, 56, 56, 64), _POOL_BAR),
    _pool("avg", 2, 2, 0, (8, 56, 56, 64)),
    _pool("avg", 3, 2, 1, (4, 112, 112, 64)),
    _pool("avg", 3, 1, 1, (8, 56, 56, 64)),
)  # fmt: skip

TINY = (
    _depthwise(3, (2, 6, 5, 4)),
    _conv("dense 3x3 s2 4-6@7 b2", (2, 7, 6, 4), 6, (3, 3), stride=2),
    _transposed(2, (2, 4, 3, 4), 6, 0),
    _per_example(2, 3, (2, 1, 6, 5, 2)),
    _pool("max", 2, 2, 0, (2, 6, 4, 3)),
    _pool("avg", 3, 2, 1, (2, 6, 5, 3)),
)
"""One of each kind, for a look at whether a benchmark works: `--quick`."""


def select(pattern: str | None, cases: tuple[Case, ...] = CASES) -> list[Case]:
    """Cases whose name contains one of the patterns, which commas part."""
    if not pattern:
        return list(cases)
    wanted = [part.strip() for part in pattern.split(",")]
    return [case for case in cases if any(part in case.name for part in wanted)]
