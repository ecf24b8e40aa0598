"""`compiler_options(f, *args)`: options of XLA that make this very program fast here, measured.

On a CPU, jaxlib 0.10.2 gives reductions, matrix products and convolutions to a library of fused
kernels (YNNPACK) where it can. That pays in some programs and costs in others, and its reductions
return wrong numbers in some (`python -m jaxconv doctor`). An option holds for a whole jit and not
for one operation, so a library cannot choose it inside its operations; `jax.jit` can.
"""

import importlib.metadata
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

_KERNELS = "xla_cpu_experimental_ynn_fusion_type"


class Content(NamedTuple):
    """What a program contains: multiply-adds by what makes them, and pools.

    Attributes:
        dense: convolutions without groups whose window has more than one tap.
        grouped: convolutions with groups, depthwise ones among them.
        products: matrix products, convolutions of one tap among them.
        pools: pools and their gradients over windows of more than one tap, a number of equations.
    """

    dense: int = 0
    grouped: int = 0
    products: int = 0
    pools: int = 0


class Row(NamedTuple):
    """Options for a class of programs, and the measurement that put them there."""

    name: str
    matches: Callable[[Content], bool]
    options: dict[str, Any]
    evidence: str


TABLE: dict[tuple[str, str], tuple[Row, ...]] = {
    ("cpu", "0.10.2"): (
        Row(
            "dense convolutions",
            lambda c: not c.grouped and not c.pools and c.dense >= 3 * c.products,
            {_KERNELS: ""},
            "resnet(20) 64x32x32: 175 -> 151 with all kernels off",
        ),
        Row(
            "anything else",
            lambda c: True,
            {},
            "mobilenet_v2 16x96x96: 155 -> 272 with all off; convnext blocks 4x56x56: 392 -> 739; "
            "unet 4x64x64: 36 -> 50 (fastest runs, busy machine); resnet(50) 4x96x96: 307 -> 320",
        ),
    ),
}
"""By platform and version of jaxlib. The first row that matches is taken; what is not here gets {}.

Each evidence: training steps of this library, milliseconds without options against with other
options, medians of runs in turn in one process, two cores of a Zen 5 server, float32.
"""


def compiler_options(f: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Picks compiler options for a function by platform, version of jaxlib and what it contains.

    Options change how a program is compiled and not what it means: results are equal up to
    rounding. None of them turns on anything that a canary of `jaxconv.doctor` shows to be wrong.
    The trace is JAX's own, which `jax.jit` of the same function then finds in its cache.

    Args:
        f: a function of pytrees of arrays, as `jax.jit` takes it.
        args: its arguments; arrays may be `jax.ShapeDtypeStruct`s.
        kwargs: its keyword arguments, likewise.

    Returns:
        A new dict for `jax.jit(f, compiler_options=...)`, which must be the outermost jit; {} on
        other platforms than CPUs, and for versions of jaxlib that nobody measured.

    Example:
        >>> import jaxconv as jc
        >>> model = jc.serial(jc.conv(8, 3), jax.nn.relu, jc.conv(8, 3))
        >>> x = jax.numpy.ones((1, 8, 8, 3))
        >>> params, state = model.init(jax.random.key(0), x)
        >>> options = compiler_options(model.apply, params, state, x)
        >>> y, _ = jax.jit(model.apply, compiler_options=options)(params, state, x)
        >>> y.shape
        (1, 8, 8, 8)
    """
    rows = _rows()
    return dict(choose(content(f, *args, **kwargs), rows).options) if rows else {}


def tuned_jit(
    f: Callable[..., Any], options: Mapping[str, Any] | None = None, **jit_options: Any
) -> Callable[..., Any]:
    """`jax.jit(f)` with options that are picked from the arguments of its first call.

    Args:
        f: a pure function of pytrees of arrays.
        options: compiler options instead of those of `compiler_options`; {} for none.
        jit_options: passed on to `jax.jit`.
    """
    jitted = None

    def call(*args: Any) -> Any:
        nonlocal jitted
        if jitted is None:
            chosen = compiler_options(f, *args) if options is None else dict(options)
            jitted = jax.jit(f, compiler_options=chosen or None, **jit_options)
        return jitted(*args)

    return call


def rows_here() -> list[Row]:
    """The rows for this platform and jaxlib that set any option."""
    return [row for row in _rows() if row.options]


def _rows() -> tuple[Row, ...]:
    return TABLE.get((jax.default_backend(), importlib.metadata.version("jaxlib")), ())


def choose(found: Content, rows: tuple[Row, ...]) -> Row:
    """The first row that matches; the last of a table matches everything."""
    return next(row for row in rows if row.matches(found))


def content(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Content:
    """Counts the multiply-adds of f; computes nothing.

    A loop counts once, whatever its number of turns: only the shares matter, roughly.
    """
    counts = Content()
    for kind, work in _works(jax.jit(f).trace(*args, **kwargs).jaxpr.jaxpr):
        counts = counts._replace(**{kind: getattr(counts, kind) + work})
    return counts


def _works(jaxpr: Any) -> Iterator[tuple[str, int]]:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            yield "products", _product(equation)
        elif name == "conv_general_dilated":
            yield _lax_conv(equation)
        elif name in _POOLS:
            window = equation.params.get("window") or equation.params["window_dimensions"]
            yield "pools", int(math.prod(window) > 1)
        elif name in _OWN:
            yield _own_conv(equation)
        else:
            for inner in _inside(equation.params.values()):
                yield from _works(inner)


def _inside(values: Any) -> Iterator[Any]:
    """The jaxprs among the parameters of an equation, those in tuples included."""
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _inside(value)
        else:
            value = getattr(value, "jaxpr", value)
            if hasattr(value, "eqns"):
                yield value


def _product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return equation.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)


def _lax_conv(equation: Any) -> tuple[str, int]:
    params, out = equation.params, equation.outvars[0].aval
    numbers, kernel = params["dimension_numbers"], equation.invars[1].aval
    # A gradient in the kernel is written as a convolution with a 'window' as large as a map, whose
    # result is as large as the window.
    sizes = [
        min(kernel.shape[k], out.shape[o])
        for k, o in zip(numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    ]
    groups = max(params["feature_group_count"], params["batch_group_count"])
    taps = kernel.size // kernel.shape[numbers.rhs_spec[0]]
    return _kind(groups, math.prod(sizes)), out.size * taps


_POOLS = {
    *(
        "jaxconv_extreme",
        "jaxconv_window_total",
        "reduce_window",
        "reduce_window_max",
        "reduce_window_min",
    ),
    *("reduce_window_sum", "select_and_scatter_add"),
}
_OWN = {
    "jaxconv_conv": lambda x, kernel, y: (kernel, y),
    "jaxconv_conv_input_gradient": lambda g, kernel, x: (kernel, g),
    "jaxconv_conv_kernel_gradient": lambda x, g, kernel: (kernel, g),
}
"""This library's convolutions: which of operands and result are the kernel and the output."""


def _own_conv(equation: Any) -> tuple[str, int]:
    values = [v.aval for v in (*equation.invars, *equation.outvars)]
    kernel, out = _OWN[equation.primitive.name](*values)
    taps = math.prod(kernel.shape[:-2])
    return _kind(equation.params["slide"].groups, taps), out.size * taps * kernel.shape[-2]


def _kind(groups: int, taps: int) -> str:
    if groups > 1:
        return "grouped"
    return "dense" if taps > 1 else "products"
