"""The result of a proof: laws of every output, what limits them, and what would repair them."""

import functools
import re
from dataclasses import dataclass, field

import jax

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance._receptive_field import ReceptiveField
from jaxconv.equivariance.prove import _text
from jaxconv.equivariance.prove._arrays import Value
from jaxconv.equivariance.prove._fixes import Fix, cost, fixes
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._limits import Limit
from jaxconv.equivariance.prove._program import Program
from jaxconv.equivariance.prove._rows import Row
from jaxconv.equivariance.prove._verify import Check, verify

MOST_WORK = 2_000_000
"""Labels that the repairs of a printed proof may cost: about a second."""
EQUATION = 600
"""Labels that take as long as what an equation takes besides: measured on a ResNet-50."""


@dataclass(frozen=True)
class Output:
    """What is proved of one output leaf.

    Attributes:
        path: of the leaf in the output's pytree, "" for a single array.
        shape: of the leaf.
        laws: one per shifted axis, in the order of `axes`.
        circular: the laws if all borders were circular: what strides alone leave.
        strides: what strides and position-dependent constants cost, in program order.
        borders: what borders cost, in program order.
        fields: receptive field, total stride and padding per shifted axis; () for several inputs.
    """

    path: str
    shape: tuple[int, ...]
    laws: tuple[Law, ...]
    circular: tuple[Law, ...] = ()
    strides: tuple[Limit, ...] = ()
    borders: tuple[Limit, ...] = ()
    fields: tuple[ReceptiveField, ...] = ()

    @property
    def name(self) -> str:
        """The key of a lone dict of outputs, else "output" and the path."""
        words = re.fullmatch(r"\['(\w+)'\]", self.path)
        return words[1] if words else f"output{self.path}"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Operations that limit the laws, in program order."""
        return tuple(sorted(self.strides + self.borders, key=lambda limit: limit.order))


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
        labels: that the analysis made: with the equations, what one more proof costs.
        values: labels of the outputs, with the borders as they are and circular.
    """

    program: Program
    outputs: tuple[Output, ...]
    unmodelled: tuple[Gap, ...]
    rows: tuple[Row, ...]
    periodic: bool
    labels: int = 0
    values: tuple[tuple[Value, ...], ...] = field(default=(), repr=False)

    @property
    def theorem(self) -> str:
        """What is proved, and what keeps it from being more, in one sentence an output."""
        return "\n".join(self._sentence(output) for output in self.outputs)

    def _sentence(self, output: Output) -> str:
        axes, sizes = self.program.axes, self.program.sizes
        text = _text.sentence(output.name, output.laws, axes, sizes)
        text = text[0].upper() + text[1:]
        if self.periodic:
            text += ", if all borders were circular"
        if output.limits:
            text += f"; the first obstruction is the {self.obstruction(output)}"
        if any(law.exact for law in output.circular) and output.circular != output.laws:
            other = _text.sentence("it", output.circular, axes, sizes)
            text += f". With circular borders {other}"
        return text + "."

    def obstruction(self, output: Output) -> Limit:
        """The first limit; where nothing is left, the first after which nothing is."""
        sizes = self.program.sizes
        last = [limit for limit in output.limits if limit.after == sizes[limit.axis]]
        lost = all(law.kind == "unproved" for law in output.laws)
        return (last if lost and last else output.limits)[0]

    @property
    def periodic_laws(self) -> tuple[tuple[Law, ...], ...]:
        """Laws of every output if positive padding wrapped around: what strides alone leave."""
        return tuple(output.circular for output in self.outputs)

    @functools.cached_property
    def fixes(self) -> tuple[Fix, ...]:
        """Repairs of single operations that would buy something, the most helpful first.

        Each is a proof of its own, so that a long program takes a while.
        """
        laws = [output.laws for output in self.outputs]
        return fixes(self.program, self.rows, laws, self.periodic_laws, self._limits, self.values)

    @property
    def _limits(self) -> tuple[Limit, ...]:
        found = dict.fromkeys(limit for output in self.outputs for limit in output.limits)
        return tuple(found)

    def verify(self, key: jax.Array) -> list[Check]:
        """Confirms every claim on random numbers, and refutes or leaves undecided the rest.

        Args:
            key: of the random input and, for generic weights, of the random weights.

        Returns:
            One `Check` for every claim, and one for every finer lattice that is not claimed.
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
        for output in self.outputs:
            lines += self._laws(output)
        strides = [limit for output in self.outputs for limit in output.strides]
        borders = [limit for output in self.outputs for limit in output.borders]
        if strides:
            lines += ["", "What strides and positions cost:", _text.limits(strides, axes)]
        if borders:
            lines += ["", "What borders cost:", _text.limits(borders, axes)]
        if self.unmodelled:
            lines += ["", "Not modelled, so that only invariance survives them:"]
            lines += [
                f"  {gap.primitive} ({gap.reason}) at {gap.source}" for gap in self.unmodelled
            ]
        lines += ["", _text.table(self.rows, axes)]
        repairs = self.repairs()
        lines += ["", "What single repairs would buy:", repairs] if repairs else []
        return "\n".join(lines).rstrip()

    def _laws(self, output: Output) -> list[str]:
        lines = []
        for number, (axis, law) in enumerate(zip(self.program.axes, output.laws, strict=True)):
            lines.append(f"{output.name}, axis {axis}: {_text.describe(law)}")
            if output.circular and law != output.circular[number]:
                lines.append(f"  with circular borders: {_text.describe(output.circular[number])}")
            if output.fields:
                field = output.fields[number]
                sees = f"{field.size} pixels, stride {field.stride}, padding {field.padding}"
                lines.append(f"  receptive field: {sees if field.known else 'unknown'}")
        return lines

    def repairs(self) -> str:
        """What single repairs would buy, a line each, or that it takes long to say; "" for none."""
        if not self._limits:
            return ""
        laws = [output.laws for output in self.outputs]
        runs = cost(self.program, self.rows, laws, self._limits)
        work = self.labels + EQUATION * len(self.program.program.equations)
        if runs * work > MOST_WORK:
            more = "1 more proof" if runs == 1 else f"{runs} more proofs"
            return f"  {more} would tell; see .fixes."
        axes, sizes = self.program.axes, self.program.sizes
        return _text.fixes(self.fixes, axes, sizes) or "  none of them helps by itself"
