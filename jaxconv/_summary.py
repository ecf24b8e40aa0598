"""A table of a model's layers: shapes, parameters, costs, receptive fields; nothing is run."""

import dataclasses
import math
from collections import Counter
from typing import Any

import jax
import numpy as np

from jaxconv import _cost, _parse
from jaxconv._types import HasShape, LayerLike
from jaxconv.compose import as_layer
from jaxconv.equivariance._jaxpr import Program, Value, trace
from jaxconv.equivariance._receptive_field import ReceptiveField, sights


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        path: its path in params, joined by slashes.
        shape: of its output.
        parameters: numbers that an optimizer changes.
        multiply_adds: of its convolutions and matrix products, for the whole batch.
        activation_bytes: bytes of its output.
        receptive_field: one per spatial axis of x; () when it does nothing outside training.
    """

    path: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: tuple[ReceptiveField, ...]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The rows of a model, and their totals; `print` shows the table.

    Attributes:
        name: of the model.
        input_shape: of the x that it was summarized for.
        rows: one per layer, in the order of computation.
        parameters: all numbers in params.
        state: all numbers in state.
        multiply_adds: of the whole model and batch.
        activation_bytes: of the outputs of all layers: about what training keeps.
    """

    name: str
    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]
    parameters: int
    state: int
    multiply_adds: int
    activation_bytes: int

    def __str__(self) -> str:
        """The table."""
        head = ("layer", "output", "parameters", "multiply-adds", "activations", "field", "stride")
        body = [
            (
                row.path,
                _by(row.shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                _bytes(row.activation_bytes),
                _by(_size(field) for field in row.receptive_field),
                _by(field.stride for field in row.receptive_field),
            )
            for row in self.rows
        ]
        totals = (f"{self.parameters:,}", f"{self.multiply_adds:,}", _bytes(self.activation_bytes))
        return _table([head, *body, (self.name, _by(self.input_shape), *totals, "", "")])


def summary(model: LayerLike, x: HasShape, *, depth: int | None = None) -> Summary:
    """Lists the layers of a model with what they return, hold and cost.

    Everything is read from shapes: nothing is allocated, compiled or run, so a model that no
    machine could hold is summarized at once. Layers are the scopes that compositions open; a
    `repeat` is listed once and counted as often as it runs. Multiply-adds are those of
    convolutions and matrix products in evaluation, taps on padding included.

    Args:
        model: a layer, or a function x -> y.
        x: an image batch, or a `jax.ShapeDtypeStruct` like one.
        depth: names in the longest path that gets a row of its own; layers inside it are summed.

    Returns:
        A `Summary`; `print(summary(model, x))` shows a table.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import jaxconv as jc
        >>> model = jc.serial(jc.conv(8, 3, stride=2), jax.nn.relu, jc.global_avg_pool())
        >>> print(jc.summary(model, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)))
        layer            output           parameters  multiply-adds  activations  field    stride
        ---------------  ---------------  ----------  -------------  -----------  -------  ------
        conv             1 × 16 × 16 × 8         224         55,296      8.0 KiB  3 × 3    2 × 2
        relu             1 × 16 × 16 × 8           0              0      8.0 KiB  3 × 3    2 × 2
        global_avg_pool  1 × 8                     0              0         32 B  32 × 32  0 × 0
        ---------------  ---------------  ----------  -------------  -----------  -------  ------
        serial           1 × 32 × 32 × 3         224         55,296     16.0 KiB

    References:
        Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural
        Networks", for the last columns.
    """
    layer = as_layer(model)
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = jax.eval_shape(layer.init, key, like)
    if depth is not None:
        _parse.integer("summary", "depth", depth)
    position = len(jax.tree.leaves((params, state)))
    evaluation = trace(lambda p, s, x: layer.apply(p, s, x)[0], params, state, like)
    try:  # for layers, dropouts mostly, that do nothing in evaluation
        training = trace(
            lambda p, s, x, k: layer.apply(p, s, x, train=True, key=k)[0], params, state, like, key
        )
    except ValueError:  # a batch norm with a single value to average, say
        training = evaluation
    rows = _rows(
        layer.name,
        _cost.uses(training, position, depth),
        _cost.uses(evaluation, position, depth),
        (training, evaluation, position),
        _cost.count_by_layer(params),
    )
    return Summary(
        name=layer.name,
        input_shape=tuple(x.shape),
        rows=rows,
        parameters=_count(params),
        state=_count(state),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )


def _rows(
    name: str,
    trained: list[_cost.Use],
    evaluated: list[_cost.Use],
    programs: tuple[Program, Program, int],
    parameters: dict[_cost.Path, int],
) -> tuple[Row, ...]:
    """Shapes from training, where a dropout does something; the rest from evaluation."""
    training, evaluation, position = programs
    outputs = _cost.layer_outputs(trained, training.outputs[0])
    fields = _fields(evaluation, position, _cost.layer_outputs(evaluated, evaluation.outputs[0]))
    times = {use.path: use.times for use in trained}
    adds: Counter[_cost.Path] = Counter()
    for use in evaluated:
        adds[use.path] += use.times * _cost.multiply_adds(use.equation)
    held: Counter[_cost.Path] = Counter()
    for path, count in parameters.items():
        held[max((p for p in outputs if path[: len(p)] == p), key=len, default=path)] += count
    return tuple(
        Row(
            path="/".join(path) or name,
            shape=value.shape,
            parameters=held[path],
            multiply_adds=adds[path],
            activation_bytes=times[path] * math.prod(value.shape) * np.dtype(value.dtype).itemsize,
            receptive_field=fields.get(path, ()),
        )
        for path, value in outputs.items()
    )


def _fields(
    program: Program, position: int, outputs: dict[_cost.Path, Value]
) -> dict[_cost.Path, tuple[ReceptiveField, ...]]:
    axes = range(1, len(program.inputs[position].shape) - 1)
    walks = [sights(program, position, axis) for axis in axes]
    return {path: tuple(walk.field(value) for walk in walks) for path, value in outputs.items()}


def _count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _size(field: ReceptiveField) -> str:
    return str(field.size) if field.known else "?"


def _by(sizes: Any) -> str:
    return " × ".join(map(str, sizes))


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} B" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def _table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as their widest entry; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            entry.rjust(width) if column in (2, 3, 4) else entry.ljust(width)
            for column, (entry, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
