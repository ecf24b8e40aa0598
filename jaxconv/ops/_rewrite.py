"""Replacing equations of a program by other forms, nested programs included."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxconv.ops._define import ClosedJaxpr, Jaxpr, plain_form, trace

Changes = list[tuple[Any, str]]
"""Every equation that was replaced, with the name of its new form."""


Makers = Mapping[Any, Any]
"""The equation that makes a variable, for those that the same program makes."""


class Form(NamedTuple):
    """What takes the place of an equation: a name, a function, and its operands.

    The operands are variables of the program; unless given, those of the equation.
    """

    name: str
    function: Callable[..., Any]
    operands: Sequence[Any] | None = None


Rule = Callable[[Any, Makers], Form | None]
"""From an equation, and what makes its operands, to another form of it, or to None."""


def rewrite(program: ClosedJaxpr, rule: Rule) -> tuple[ClosedJaxpr, Changes]:
    """The program with every equation replaced that the rule knows another form for."""
    rewriter = _Rewriter(rule)
    return rewriter.closed(program), rewriter.changes


def in_plain_lax(program: ClosedJaxpr) -> ClosedJaxpr:
    """The program without this library's primitives, for walkers that have no rule for them."""
    return rewrite(program, _plain)[0]


def _plain(eqn: Any, _: Makers) -> Form | None:
    form = plain_form(eqn.primitive)
    return None if form is None else Form("plain lax", functools.partial(form, **eqn.params))


class _Rewriter:
    """Walks programs; the same nested program is rewritten once.

    A class because the memory of what was rewritten and the list of changes travel together
    through five mutually recursive functions.
    """

    def __init__(self, rule: Rule):
        self.rule = rule
        self.changes: Changes = []
        self._done: dict[int, tuple[Any, Any, Changes]] = {}

    def closed(self, program: ClosedJaxpr) -> ClosedJaxpr:
        return program.replace(jaxpr=self.open(program.jaxpr))

    def open(self, jaxpr: Jaxpr) -> Jaxpr:
        if id(jaxpr) in self._done:
            _, rewritten, changes = self._done[id(jaxpr)]
            self.changes += changes
            return rewritten
        before = len(self.changes)
        makers = {out: eqn for eqn in jaxpr.eqns for out in eqn.outvars}
        eqns = [self.equation(eqn, makers) for eqn in jaxpr.eqns]
        unchanged = all(new is old for new, old in zip(eqns, jaxpr.eqns, strict=True))
        rewritten = jaxpr if unchanged else jaxpr.replace(eqns=eqns)
        self._done[id(jaxpr)] = jaxpr, rewritten, self.changes[before:]
        return rewritten

    def equation(self, eqn: Any, makers: Makers) -> Any:
        form = self.rule(eqn, makers)
        if form is not None:
            self.changes.append((eqn, form.name))
            return _calling(eqn, form)
        params = {name: self.parameter(name, value) for name, value in eqn.params.items()}
        if all(params[name] is value for name, value in eqn.params.items()):
            return eqn
        return eqn.replace(params=params)

    def parameter(self, name: str, value: Any) -> Any:
        if isinstance(value, ClosedJaxpr):
            jaxpr = self.open(value.jaxpr)
            return value if jaxpr is value.jaxpr else value.replace(jaxpr=jaxpr)
        if isinstance(value, Jaxpr):
            return self.open(value)
        if isinstance(value, tuple) and any(isinstance(v, (ClosedJaxpr, Jaxpr)) for v in value):
            parts = tuple(self.parameter(name, v) for v in value)
            same = all(new is old for new, old in zip(parts, value, strict=True))
            return value if same else parts
        if name == "fwd_jaxpr_thunk" and callable(value):
            return functools.partial(self._forward_rule, value)
        return value

    def _forward_rule(self, thunk: Callable[..., Any], *nonzero: Any) -> Any:
        jaxpr, *rest = thunk(*nonzero)
        return (self.open(jaxpr), *rest)


def _calling(eqn: Any, form: Form) -> Any:
    """The equation that calls a form where `eqn` stood: same results, names and source."""
    operands = eqn.invars if form.operands is None else list(form.operands)
    named = jax.jit(_named(form.function, eqn.primitive.name))
    (call,) = trace(named, [v.aval for v in operands]).jaxpr.eqns
    return call.replace(
        invars=operands, outvars=eqn.outvars, source_info=eqn.source_info, ctx=eqn.ctx
    )


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return function(*args)

    call.__name__ = name
    return call
