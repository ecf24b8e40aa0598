"""The only file that touches JAX's semi-public internals, so that a new JAX breaks one file.

It gives the types that walkers of jaxprs need, and `define`, which makes a primitive: an operation
that differentiation, batching and lowering treat as one, so that its gradient can be chosen and
need not be derived from how the forward pass happens to be written.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.interpreters import ad, batching, mlir
from jax.sharding import AbstractMesh, PartitionSpec, use_abstract_mesh

try:  # what jax.extend.core re-exports, without the 45 ms that importing jax.extend takes
    from jax._src.core import ClosedJaxpr as ClosedJaxpr
    from jax._src.core import Jaxpr as Jaxpr
    from jax._src.core import Literal as Literal
    from jax._src.core import Primitive as Primitive
    from jax._src.core import jaxpr_as_fun as jaxpr_as_fun
except ImportError:
    from jax.extend.core import ClosedJaxpr as ClosedJaxpr
    from jax.extend.core import Jaxpr as Jaxpr
    from jax.extend.core import Literal as Literal
    from jax.extend.core import Primitive as Primitive
    from jax.extend.core import jaxpr_as_fun as jaxpr_as_fun

_SWITCH = os.environ.get("JAXCONV_PRIMITIVES", "on")
if _SWITCH not in ("on", "off"):
    raise ValueError(
        f"jaxconv: the environment variable JAXCONV_PRIMITIVES is unknown; expected on or off. "
        f"Got JAXCONV_PRIMITIVES={_SWITCH!r}. Unset it."
    )

ENABLED = _SWITCH == "on"
"""Whether operations bind primitives; otherwise everything runs on plain lax."""

_NO_MESH = AbstractMesh((), ())

_PLAIN: dict[Primitive, Callable[..., jax.Array]] = {}


Specs = Sequence[Sequence[Any]]
"""For every operand the mesh axes that each of its axes is sharded over, None for none."""


def define(
    name: str,
    *,
    plain: Callable[..., jax.Array],
    cpu: Callable[..., jax.Array],
    sharding: Callable[..., Sequence[Any]],
) -> Primitive:
    """A primitive of one result that is lowered by `cpu` on CPUs and by `plain` elsewhere.

    Both are functions of arrays and of the primitive's parameters, in jnp and lax; their results
    are equal up to rounding. Shapes and dtypes are those of `plain`; `sharding(specs, **params)`
    says over which axes of an explicit mesh the result is sharded.
    """
    primitive = Primitive(name)
    _PLAIN[primitive] = plain

    @primitive.def_abstract_eval
    def _(*args: Any, **params: Any) -> Any:
        like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args]
        with use_abstract_mesh(_NO_MESH):
            out = jax.eval_shape(functools.partial(plain, **params), *like)
        placed = next((a for a in args if not a.sharding.mesh.empty), args[0])
        where = placed.sharding
        if not where.mesh.empty:
            spec = sharding([a.sharding.spec for a in args], **params)
            where = where.update(spec=PartitionSpec(*spec))
        return placed.update(shape=out.shape, dtype=out.dtype, weak_type=False, sharding=where)

    @functools.cache
    def compiled(**params: Any) -> Callable[..., jax.Array]:
        return jax.jit(functools.partial(primitive.bind, **params))

    primitive.def_impl(lambda *args, **params: compiled(**params)(*args))
    mlir.register_lowering(primitive, _lowering(plain))
    mlir.register_lowering(primitive, _lowering(cpu), platform="cpu")
    return primitive


def _lowering(form: Callable[..., jax.Array]) -> Any:
    """Lowers by tracing `form`; how operands are sharded is the compiler's to propagate."""
    lower = mlir.lower_fun(form, multiple_results=False)

    def rule(ctx: Any, *args: Any, **params: Any) -> Any:
        bare = [ShapedArray(aval.shape, aval.dtype) for aval in ctx.avals_in]
        with use_abstract_mesh(_NO_MESH):
            return lower(ctx.replace(avals_in=bare), *args, **params)

    return rule


def bind(primitive: Primitive, *args: Any, **params: Any) -> jax.Array:
    """Applies a primitive; inside `jax.shard_map` what one operand varies over, all do."""
    over = [_varying(jax.typeof(a)) for a in args]
    every = frozenset[Any]().union(*over)
    matched = [
        jax.lax.pcast(a, tuple(every - axes), to="varying") if every - axes else a
        for a, axes in zip(args, over, strict=True)
    ]
    return primitive.bind(*matched, **params)


def trace(function: Callable[..., Any], avals: Sequence[Any]) -> ClosedJaxpr:
    """The program of a function of values that are placed as `avals` say.

    What is sharded over an explicit mesh, or varies over the axes of a manual one, does so in the
    program: a program without that would differentiate into wrong numbers there.
    """
    meshes = [aval.sharding.mesh for aval in avals if not aval.sharding.mesh.empty]
    with use_abstract_mesh(meshes[0]) if meshes else contextlib.nullcontext():
        return jax.make_jaxpr(function)(*map(_placed, avals))


def _placed(aval: Any) -> jax.ShapeDtypeStruct:
    if aval.sharding.mesh.empty:
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype)
    manual = getattr(aval, "manual_axis_type", None)
    varies: dict[str, Any] = (
        {"vma": _varying(aval)} if manual is None else {"manual_axis_type": manual}
    )
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=aval.sharding, **varies)


def _varying(aval: Any) -> frozenset[Any]:
    """The axes of a manual mesh that a value varies over; `vma` before jax 0.10."""
    manual = getattr(aval, "manual_axis_type", None)
    return getattr(aval, "vma", frozenset()) if manual is None else manual.varying


def bilinear(
    primitive: Primitive, left: Callable[..., jax.Array], right: Callable[..., jax.Array]
) -> None:
    """Declares a primitive linear in each of two operands, and gives both transposes.

    `left(cotangent, y, like, **params)` returns the cotangent of the first operand, which looks
    like `like`; `right(cotangent, x, like, **params)` that of the second.
    """
    ad.defbilinear(
        primitive,
        lambda ct, x, y, **params: left(ct, y, x.aval, **params),
        lambda ct, x, y, **params: right(ct, x, y.aval, **params),
    )


def linear(primitive: Primitive, transpose: Callable[..., jax.Array]) -> None:
    """Declares a primitive of one operand linear.

    `transpose(cotangent, like, **params)` returns the cotangent of the operand, which looks like
    `like`.
    """
    tangent_through(primitive, lambda t, x, **params: bind(primitive, t, **params))

    def transposed(ct: Any, x: Any, **params: Any) -> tuple[Any]:
        return (ad.Zero(x.aval) if type(ct) is ad.Zero else transpose(ct, x.aval, **params),)

    ad.primitive_transposes[primitive] = transposed


def linear_in_first(
    primitive: Primitive,
    transpose: Callable[..., jax.Array],
    second: Callable[..., jax.Array] | None = None,
) -> None:
    """Declares a primitive linear in its first operand.

    `transpose(cotangent, y, like, **params)` returns the cotangent of the first operand.
    `second(tangent, x, y, **params)` returns what a tangent of the second operand makes of the
    result; None stands for a second operand that holds integers.
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x, y), (x_dot, y_dot) = primals, tangents
        out, terms = bind(primitive, x, y, **params), []
        if type(x_dot) is not ad.Zero:
            terms.append(bind(primitive, x_dot, y, **params))
        if second is not None and type(y_dot) is not ad.Zero:
            terms.append(second(y_dot, x, y, **params))
        return out, sum(terms[1:], terms[0]) if terms else _zero_tangent(out)

    def transposed(ct: Any, x: Any, y: Any, **params: Any) -> tuple[Any, None]:
        if type(ct) is ad.Zero:
            return ad.Zero(x.aval), None
        return transpose(ct, y, x.aval, **params), None

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transposed


def tangent_through(primitive: Primitive, rule: Callable[..., jax.Array]) -> None:
    """Gives the tangent `rule(tangent, *operands, **params)` for that of the first operand."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        out = bind(primitive, *primals, **params)
        if type(tangents[0]) is ad.Zero:
            return out, _zero_tangent(out)
        return out, rule(tangents[0], *primals, **params)

    ad.primitive_jvps[primitive] = jvp


def without_tangent(primitive: Primitive) -> None:
    """Declares the result of a primitive an integer, which has no derivative."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        out = bind(primitive, *primals, **params)
        return out, _zero_tangent(out)

    ad.primitive_jvps[primitive] = jvp


def _zero_tangent(out: Any) -> Any:
    return ad.Zero(jax.typeof(out).to_tangent_aval())


def batched(primitive: Primitive, rule: Callable[..., jax.Array]) -> None:
    """Gives the batching rule `rule(args, is_mapped, **params)`.

    Mapped operands come with the mapped axis first, and so must the result.
    """

    def standard(
        args: Sequence[Any], dims: Sequence[int | None], **params: Any
    ) -> tuple[jax.Array, int]:
        front = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(args, dims, strict=True)]
        if any(d is not None and a.shape[0] == 0 for a, d in zip(front, dims, strict=True)):
            one = [
                jax.ShapeDtypeStruct(a.shape if d is None else a.shape[1:], a.dtype)
                for a, d in zip(front, dims, strict=True)
            ]
            y = jax.eval_shape(functools.partial(_PLAIN[primitive], **params), *one)
            return jnp.zeros((0, *y.shape), y.dtype), 0
        return rule(front, [d is not None for d in dims], **params), 0

    batching.primitive_batchers[primitive] = standard


def batched_with_examples(primitive: Primitive) -> None:
    """Gives the rule of what treats every example alike: a mapped axis goes into the first one."""

    def rule(args: Sequence[Any], mapped: Sequence[bool], **params: Any) -> jax.Array:
        count = next(a.shape[0] for a, m in zip(args, mapped, strict=True) if m)
        every = [
            a if m else jnp.broadcast_to(a[None], (count, *a.shape))
            for a, m in zip(args, mapped, strict=True)
        ]
        flat = [a.reshape(count * a.shape[1], *a.shape[2:]) for a in every]
        y = bind(primitive, *flat, **params)
        return y.reshape(*every[0].shape[:2], *y.shape[1:])

    batched(primitive, rule)


def plain_form(primitive: Primitive) -> Callable[..., jax.Array] | None:
    """The plain lax function `f(*operands, **params)` that one of our primitives equals.

    None for any other primitive. A walker of jaxprs that has no rule for ours traces this.
    """
    return _PLAIN.get(primitive)
