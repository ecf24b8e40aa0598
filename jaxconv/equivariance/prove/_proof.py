"""The result of a proof: laws of every output, what limits them, and what would repair them."""

import functools
from dataclasses import dataclass

import jax

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove import _text
from jaxconv.equivariance.prove._analysis import output_laws
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._limits import Limit, Row
from jaxconv.equivariance.prove._program import Program
from jaxconv.equivariance.prove._table import Context
from jaxconv.equivariance.prove._verify import Check, verify


@dataclass(frozen=True)
class Output:
    """What is proved of one output leaf.

    Attributes:
        path: of the leaf in the output's pytree, "" for a single array.
        shape: of the leaf.
        laws: one per shifted axis, in the order of `axes`.
        limits: operations that limit them, in program order.
    """

    path: str
    shape: tuple[int, ...]
    laws: tuple[Law, ...]
    limits: tuple[Limit, ...]

    @property
    def name(self) -> str:
        """The path, or "output"."""
        return f"output{self.path}"


@dataclass(frozen=True)
class Gap:
    """An operation that no rule describes: invariance survives it, equivariance does not."""

    primitive: str
    reason: str
    layer: str
    source: _jaxpr.Source | None


@dataclass(frozen=True)
class Proof:
    """Shift laws of a function, for all inputs and, with generic weights, all weights.

    Laws hold in real arithmetic and for finite values. Printing a proof gives its theorem, then
    the laws, what limits them, and the table of operations.

    Attributes:
        program: what was analyzed.
        outputs: one entry per output leaf.
        unmodelled: operations that no rule describes.
        rows: the table of operations, in program order.
        periodic: whether borders were taken to be circular.
    """

    program: Program
    outputs: tuple[Output, ...]
    unmodelled: tuple[Gap, ...]
    rows: tuple[Row, ...]
    periodic: bool

    @property
    def theorem(self) -> str:
        """What is proved, and what keeps it from being more, in one sentence an output."""
        return "\n".join(self._sentence(output) for output in self.outputs)

    def _sentence(self, output: Output) -> str:
        text = _text.sentence(output.name, output.laws, self.program.axes, self.program.sizes)
        text = text[0].upper() + text[1:]
        if self.periodic:
            text += ", if all borders were circular"
        if output.limits:
            text += f"; the first obstruction is the {output.limits[0]}"
        return text + "."

    @functools.cached_property
    def periodic_laws(self) -> tuple[tuple[Law, ...], ...]:
        """Laws of every output if positive padding wrapped around: what strides alone leave."""
        if self.periodic:
            return tuple(output.laws for output in self.outputs)
        run = self.program.run(Context(self.program.sizes, periodic=True))
        return tuple(output_laws(self.program, run, periodic=True)[0])

    def verify(self, key: jax.Array) -> list[Check]:
        """Confirms every claim on random numbers, and refutes or leaves undecided the rest.

        Args:
            key: of the random input and, for generic weights, of the random weights.

        Returns:
            One `Check` per output leaf and axis.
        """
        if self.periodic:
            raise ValueError(
                "verify: the proof is about circular borders, which f does not have; expected a "
                "proof of f itself. Got periodic=True. Use prove(..., periodic=False)."
            )
        return verify(self.program, [output.laws for output in self.outputs], key)

    def __str__(self) -> str:
        axes = self.program.axes
        lines = [self.theorem, ""]
        for output, circular in zip(self.outputs, self.periodic_laws, strict=True):
            for axis, law, other in zip(axes, output.laws, circular, strict=True):
                lines.append(f"{output.name}, axis {axis}: {_text.describe(law)}")
                if law != other:
                    lines.append(f"  with circular borders: {_text.describe(other)}")
        limits = [limit for output in self.outputs for limit in output.limits]
        if limits:
            lines += ["", "What limits it, in program order:", _text.limits(limits, axes)]
        for gap in self.unmodelled:
            lines.append(f"  not modelled: {gap.primitive} ({gap.reason}) at {gap.source}")
        return "\n".join([*lines, "", _text.table(self.rows, axes)])
