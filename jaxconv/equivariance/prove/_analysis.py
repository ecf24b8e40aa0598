"""Laws of all outputs of a program: one run, and forks where an index depends on x."""

from jaxconv.equivariance.prove._fork import branched, interior_of, law_of
from jaxconv.equivariance.prove._laws import Law, coarsened
from jaxconv.equivariance.prove._program import Program, Run
from jaxconv.equivariance.prove.rules.index import DEPENDS


def output_laws(
    program: Program, run: Run, *, periodic: bool
) -> tuple[list[tuple[Law, ...]], bool]:
    """One law per output leaf and shifted axis, and whether forks decided all indices."""
    laws = [program.laws(value) for value in run.outputs]
    depends = any(reason == DEPENDS for _, reason in run.interpreter.gaps)
    coarse = any(not law.exact or law.shift > 1 for row in laws for law in row)
    if not run.interpreter.context.sites or not (depends or (coarse and program.steered)):
        return laws, False
    tree = branched(program, periodic=periodic)
    if tree is None:
        return laws, False
    for output, row in enumerate(laws):
        found = list(row)
        for axis, law in enumerate(row):
            better = law_of(tree, output, axis, program.sizes[axis])
            if better is None and law.kind in ("partial", "unproved"):
                better = interior_of(tree, output, axis, program.sizes[axis])
            if better is not None and (not law.exact or better.shift < law.shift):
                found[axis] = coarsened(better, program.finest[axis])
        laws[output] = tuple(found)
    return laws, True
