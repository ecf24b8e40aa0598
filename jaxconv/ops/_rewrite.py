"""Replacing equations of a program by other forms, nested programs included."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxconv.ops._define import ClosedJaxpr, Jaxpr, plain_form, trace

Changes = list[tuple[Any, str]]
"""Every equation that was replaced, with the name of its new form."""


Rule = Callable[[Any], tuple[str, Callable[..., Any]] | None]
"""From an equation to the name of another form and a function of its operands, or to None."""


def rewrite(program: ClosedJaxpr, rule: Rule) -> tuple[ClosedJaxpr, Changes]:
    """The program with every equation replaced that the rule knows another form for."""
    rewriter = _Rewriter(rule)
    return rewriter.closed(program), rewriter.changes


def in_plain_lax(program: ClosedJaxpr) -> ClosedJaxpr:
    """The program without this library's primitives, for walkers that have no rule for them."""
    return rewrite(program, _plain)[0]


def _plain(eqn: Any) -> tuple[str, Callable[..., Any]] | None:
    form = plain_form(eqn.primitive)
    return None if form is None else ("plain lax", functools.partial(form, **eqn.params))


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
        eqns = [self.equation(eqn) for eqn in jaxpr.eqns]
        unchanged = all(new is old for new, old in zip(eqns, jaxpr.eqns, strict=True))
        rewritten = jaxpr if unchanged else jaxpr.replace(eqns=eqns)
        self._done[id(jaxpr)] = jaxpr, rewritten, self.changes[before:]
        return rewritten

    def equation(self, eqn: Any) -> Any:
        found = self.rule(eqn)
        if found is not None:
            form, function = found
            self.changes.append((eqn, form))
            return _calling(eqn, function)
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


def _calling(eqn: Any, function: Callable[..., Any]) -> Any:
    """The equation that calls `function` where `eqn` stood: same variables, names and source."""
    named = jax.jit(_named(function, eqn.primitive.name))
    (call,) = trace(named, [v.aval for v in eqn.invars]).jaxpr.eqns
    return call.replace(
        invars=eqn.invars, outvars=eqn.outvars, source_info=eqn.source_info, ctx=eqn.ctx
    )


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return function(*args)

    call.__name__ = name
    return call
