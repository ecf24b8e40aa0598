"""Random configurations of every operation, as JAX programs and as what NumPy makes of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

import jaxconv as jc
from benchmarks import _oracle
from benchmarks._oracle import Geometry

KINDS = ("conv", "depthwise", "conv_transpose", "local_conv", "max_pool", "avg_pool", "fast")


class Drawn(NamedTuple):
    """One configuration and its operands.

    `operands` are x, kernel unless a pool, and the cotangent g; x and kernel have a leading axis of
    2 where `mapped` says so.
    """

    kind: str
    geometry: Geometry
    groups: int
    dtype: str
    mapped: tuple[bool, bool]
    extra: tuple[Any, ...]
    where: np.ndarray
    operands: tuple[np.ndarray, ...]

    def __str__(self) -> str:
        shapes = [operand.shape for operand in self.operands]
        return (
            f"{self.kind} {self.geometry._asdict()} groups={self.groups} {self.dtype} "
            f"mapped={self.mapped} extra={self.extra} operands {shapes}"
        )


def draw(seed: int, number: int) -> Drawn:
    """The configuration of a number: drawn until it is one that the operation accepts."""
    rng = np.random.default_rng([seed, number])
    while True:
        case = _attempt(rng)
        if case is not None:
            return case


def _attempt(rng: np.random.Generator) -> Drawn | None:
    kind = str(rng.choice(KINDS))
    geometry = _geometry(rng, kind)
    where = _oracle.lookup(geometry)
    if where is None or where.size > 40_000:
        return None
    if "pool" in kind and not (where >= 0).any(tuple(range(where.ndim // 2, where.ndim))).all():
        return None  # a window wholly in padding, which pools refuse
    groups, reads, features = _channels(rng, kind)
    n = int(rng.integers(1, 4))
    image = (n, *geometry.spatial, groups * reads)
    output = _oracle.output_shape(where, n, features if "pool" not in kind else image[-1])
    dtype = str(rng.choice(["float32", "float64"]))
    mapped = _mapped(rng, kind)
    extra: tuple[Any, ...] = ()
    kernel = (*geometry.window, reads, features)
    if kind == "local_conv":
        kernel = (*output[1:-1], *kernel)
    if kind == "conv_transpose":
        image, output = output, image
    if kind == "fast":
        extra = (int(rng.integers(3)), bool(rng.integers(2)))
    if kind == "avg_pool":
        extra = (bool(rng.integers(2)),)
    shapes = [image] if "pool" in kind else [image, kernel]
    shapes = [(2, *s) if m else s for s, m in zip(shapes, mapped, strict=False)]
    shapes.append((2, *output) if any(mapped) else output)
    operands = tuple(_values(rng, shape, kind).astype(dtype) for shape in shapes)
    return Drawn(kind, geometry, groups, dtype, mapped, extra, where, operands)


def _geometry(rng: np.random.Generator, kind: str) -> Geometry:
    rank = int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2]))
    each = lambda low, high: tuple(int(v) for v in rng.integers(low, high, rank))
    spatial, window = each(1, 8 if rank < 3 else 6), each(1, 5 if rank < 3 else 4)
    stride, dilation = each(1, 4), each(1, 4)
    amounts = [tuple(int(v) for v in rng.integers(-2, 6, 2)) for _ in range(rank)]
    if rng.random() < 0.5:  # half of them as people write them
        amounts = [(d * (k - 1) // 2,) * 2 for d, k in zip(dilation, window, strict=True)]
    modes = tuple(str(m) for m in rng.choice(list(_oracle.NUMPY_MODE), rank))
    whole = [n % s == 0 for n, s in zip(spatial, stride, strict=True)]
    modes = tuple(
        m if m != "circular" or fits else "reflect" for m, fits in zip(modes, whole, strict=True)
    )
    if kind == "fast" or rng.random() < 0.6:
        modes = ("zeros",) * rank
    spread = each(1, 4) if kind == "fast" and rng.random() < 0.4 else ()
    if spread:
        stride = (1,) * rank if rng.random() < 0.7 else stride
    return Geometry(spatial, window, stride, dilation, tuple(amounts), modes, spread)


def _channels(rng: np.random.Generator, kind: str) -> tuple[int, int, int]:
    """Groups, input channels of a group, features."""
    if "pool" in kind or kind == "local_conv":
        return 1, int(rng.integers(1, 6)), int(rng.integers(1, 5))
    if kind == "depthwise" or (kind != "conv" and rng.random() < 0.3):
        channels = int(rng.integers(2, 10))
        return channels, 1, channels * int(rng.integers(1, 3))
    groups = int(rng.choice([1, 1, 2, 3, 4]))
    return groups, int(rng.integers(1, 9)), groups * int(rng.integers(1, 9))


def _mapped(rng: np.random.Generator, kind: str) -> tuple[bool, bool]:
    if rng.random() < 0.75:
        return False, False
    if "pool" in kind:
        return True, False
    return ((True, False), (False, True), (True, True))[rng.integers(3)]


def _values(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Normal numbers; for half of the max pools small integers, so that ties are many."""
    if kind == "max_pool" and rng.random() < 0.5:
        return rng.integers(-2, 3, shape).astype(np.float64)
    return rng.standard_normal(shape)


def program(case: Drawn) -> Callable[..., Any]:
    """A function of the operands: value, gradient in x and, unless a pool, in the kernel."""
    function = _function(case)
    inside = case.kind == "fast" and case.extra[1]  # gradients by lax, then rewritten
    if case.kind == "fast" and not inside:
        function = jc.fast(function)
    axes = tuple(0 if mapped else None for mapped in case.mapped[: len(case.operands) - 1])
    if any(case.mapped):
        function = jax.vmap(function, axes)

    def everything(*operands):
        *primals, g = operands
        y, pullback = jax.vjp(function, *primals)
        return (y, *pullback(g))

    return jc.fast(everything) if inside else everything


def _function(case: Drawn) -> Callable[..., Any]:
    geometry, ops = case.geometry, jc.ops
    options: dict[str, Any] = {
        "stride": geometry.stride,
        "dilation": geometry.dilation,
        "padding": geometry.padding,
        "padding_mode": geometry.modes,
    }
    match case.kind:
        case "conv":
            return lambda x, k: ops.conv(x, k, groups=case.groups, **options)
        case "depthwise":
            return lambda x, k: ops.depthwise_conv(x, k, **options)
        case "conv_transpose":
            options |= {"groups": case.groups, "output_shape": geometry.spatial}
            return lambda y, k: ops.conv_transpose(y, k, **options)
        case "local_conv":
            return lambda x, k: ops.local_conv(x, k, **options)
        case "max_pool":
            return lambda x: ops.max_pool(x, geometry.window, **options)
        case "avg_pool":
            return lambda x: ops.avg_pool(
                x, geometry.window, count_padding=case.extra[0], **options
            )
    return lambda x, k: _lax_conv(case, x, k)


def _lax_conv(case: Drawn, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Somebody else's convolution, in one of three layouts; images and kernel come in ours."""
    geometry, layout = case.geometry, case.extra[0]
    rank = len(geometry.spatial)
    if layout == 0:
        order, back, kernel_order = range(rank + 2), range(rank + 2), range(rank + 2)
        numbers = _specs(rank, (0, rank + 1), (rank + 1, rank))
    else:
        order = (0, rank + 1, *range(1, rank + 1))
        back = (0, *range(2, rank + 2), 1)
        kernel_order = (rank + 1, rank, *range(rank)) if layout == 1 else range(rank + 2)
        numbers = _specs(rank, (0, 1), (0, 1) if layout == 1 else (rank + 1, rank))
    y = lax.conv_general_dilated(
        x.transpose(order), kernel.transpose(kernel_order), geometry.stride, geometry.padding,
        lhs_dilation=geometry.spread or (1,) * rank, rhs_dilation=geometry.dilation,
        dimension_numbers=numbers, feature_group_count=case.groups,
    )  # fmt: skip
    return y.transpose(tuple(back))


def _specs(rank: int, image: tuple[int, int], kernel: tuple[int, int]) -> Any:
    spec = lambda lead: (*lead, *(a for a in range(rank + 2) if a not in lead))
    return lax.ConvDimensionNumbers(spec(image), spec(kernel), spec(image))


def expected(case: Drawn) -> tuple[np.ndarray, ...]:
    """What NumPy makes of it in float64, one example after the other where it is vmapped."""
    operands = [np.asarray(operand, np.float64) for operand in case.operands]
    if not any(case.mapped):
        return _one(case, *operands)
    *primals, g = operands
    mapped = case.mapped[: len(primals)]
    parts = [
        _one(case, *(p[i] if m else p for p, m in zip(primals, mapped, strict=True)), g[i])
        for i in range(2)
    ]
    y, *gradients = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    return y, *(d if m else d.sum(0) for d, m in zip(gradients, mapped, strict=True))


def _one(case: Drawn, *operands: np.ndarray) -> tuple[np.ndarray, ...]:
    match case.kind:
        case "max_pool":
            return _oracle.max_pool(*operands, case.where)
        case "avg_pool":
            return _oracle.avg_pool(*operands, case.where, count_padding=case.extra[0])
        case "local_conv":
            return _oracle.local_conv(*operands, case.where)
        case "conv_transpose":
            spatial = case.geometry.spatial
            return _oracle.conv_transpose(*operands, case.where, spatial, case.groups)
    return _oracle.conv(*operands, case.where, case.groups)
