"""Broken provers, one fault each: the judge of labels must contradict every one of them.

A mutant is a place in the prover, a fault that turns what is there into something wrong, and
programs of which at least one must expose it. The unbroken prover passes the same programs.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prove_programs import (
    CIRCULANT,
    COLUMNS,
    K33,
    POSITION,
    PROGRAMS,
    SHAPE,
    conv,
    spectrum,
    window,
    wrap,
)

from jaxconv.equivariance.prove import (
    _arrays,
    _interpret,
    _labels,
    _multisets,
    _operands,
    _phases,
    _table,
    _terms,
)
from jaxconv.equivariance.prove._arrays import Known, Labels
from jaxconv.equivariance.prove._labels import is_zero
from jaxconv.equivariance.prove._oracle import broken_labels
from jaxconv.equivariance.prove._program import trace
from jaxconv.equivariance.prove.rules import (
    elementwise,
    fourier,
    index,
    reduce,
    scatter,
    select,
    structure,
)
from jaxconv.equivariance.prove.rules import window as windows

RULES, CONTROL = _table.RULES, _interpret.CONTROL
X = np.random.default_rng(11).normal(size=SHAPE)
PARTS = np.zeros((4, 6, 2))
PARTS[1, 2, 1] = 1.0
RAMP = np.linspace(1.0, 1.5, 6).reshape(1, 1, 6, 1)


class Mutant(NamedTuple):
    """A place (a module, class or table, and a name there), a fault, and its witnesses."""

    place: Any
    name: str
    fault: Callable[[Any], Any]
    programs: tuple[Callable[[Any], Any], ...]


def shown(*names):
    return tuple(PROGRAMS[name] for name in names)


# faults of rules: what was there -> what is there now


def keep(was):
    return lambda context, call, x, *rest: replace(x, trail=None)


def keep_all(was):
    return lambda context, call, x, *rest: [replace(x, trail=None) for _ in call.shapes]


def second_ignored(was):
    return lambda context, call, a, b: was(context, call, a, a)


def constant_ignored(was):
    """One side of a contraction counts as ones."""
    ones = lambda v: Known(np.ones(v.shape)) if isinstance(v, Known) else v
    return lambda context, call, a, b: was(context, call, ones(a), ones(b))


def parameter(**changes):
    """The rule sees other parameters than the equation has."""

    def fault(was):
        return lambda context, call, *operands: was(
            context, replace(call, params={**call.params, **changes}), *operands
        )

    return fault


def renamed(name):
    return lambda was: (
        lambda context, call, *operands: was(context, replace(call, name=name), *operands)
    )


def commutes(was):
    return lambda context, call, x: reduce.reduced(
        x, sorted(call.params["axes"]), call.name, commutes=True
    )


def starts_at_zero(was):
    def rule(context, call, x, *starts):
        return was(context, call, x, *[Known(np.zeros((), int)) for _ in starts])

    return rule


def first_case(was):
    def rule(context, call, which, *cases):
        return was(context, call, Known(np.zeros(call.shape, bool)), *cases)

    return rule


def swapped(was):
    return lambda context, call, x: was(context, call, x)[::-1]


def repeats(was):
    def rule(context, call, x):
        for axis, times in enumerate(call.params["reps"]):
            x = structure.take(x, axis, np.repeat(np.arange(x.shape[axis]), times))
        return x

    return rule


def loose_companions(was):
    """Every companion counts as a function of the keys."""

    def rule(context, call, x, *others):
        mark = lambda v: replace(v, determined=frozenset([x.token]))
        return was(context, call, x, *[mark(v) if isinstance(v, Labels) else v for v in others])

    return rule


def loose_order(was):
    def rule(context, call, x, at):
        if isinstance(at, Labels) and at.order is not None and isinstance(x, Labels):
            x = replace(x, determined=x.determined | {at.order[0].token})
        return was(context, call, x, at)

    return rule


def replicated(was):
    def rule(context, call, *operands):
        return [replace(v, states=("R",) * len(v.shape)) for v in was(context, call, *operands)]

    return rule


# faults of labels


def no_coordinates(was):
    def relative(code, anchor):
        still = code.copy()
        still[2 : 2 + _labels.rank_of(code)] = 0
        return was(still, anchor * 0)

    return relative


def set_names(was):
    """Multisets forget how often a member occurs."""

    def names(code, anchor, zero):
        hashes = np.sort(_multisets.mix(_multisets.relative(code, anchor)), -1)
        again = np.zeros(hashes.shape, bool)
        again[..., 1:] = hashes[..., 1:] == hashes[..., :-1]
        return np.where(again, 0, hashes).sum(-1, dtype=np.uint64)

    return names


def first_row(was):
    return lambda words, salt: np.repeat(was(words[:1], salt), len(words), 1)


def ramps_merged(was):
    """A chain of small steps counts as one cluster."""
    return lambda a: np.full_like(a, a.flat[0]) if a.size and np.ptp(a) < 1 else a


def any_zero(was):
    """A slice with a zero in it counts as a slice of zeros."""

    def entries(known, states):
        zero = np.asarray(known.array == 0)
        for axis, state in enumerate(states):
            zero = zero if state == "E" else np.any(zero, axis=axis, keepdims=True)
        return zero

    return entries


def hidden(kind):
    """A move of bundled axes gives no new name."""

    def fault(was):
        def through(self, *parts):
            return replace(self, trail=None) if parts[0] == kind else was(self, *parts)

        return through

    return fault


def no_order(was):
    return lambda code, salt, fixed=(): _multisets.multiset(code, salt, search=False)


def one_entry(was):
    """All projections of a bundle have one name."""

    def expanded(labels, axis):
        out = was(labels, axis)
        if labels.states[axis] != "B" or labels.shape[axis] == 1:
            return out
        start = np.take(out.code, [0], axis + 1)
        return replace(out, code=np.broadcast_to(start, out.code.shape).copy(), terms=None)

    return expanded


def no_sign(was):
    return lambda value, labels, sign=1, kind="sum": was(value, labels, 1, kind)


def kind_of_sums(was):
    return lambda value, labels, sign=1, kind="sum": was(value, labels, sign, "sum")


def one_lands(was):
    """Of the updates of one place only the last counts."""

    def landing(terms, targets, shape):
        last = {int(target): number for number, target in enumerate(targets)}
        alone = np.full_like(targets, -1)
        alone[list(last.values())] = list(last)
        return was(terms, alone, shape)

    return landing


def geometry(**changes):
    """Windows that forget a part of their geometry."""

    def fault(was):
        def indexed(self, *, periodic):
            changed = {key: change(getattr(self, key)) for key, change in changes.items()}
            return was(replace(self, **changed), periodic=periodic)

        return indexed

    return fault


def first_tap(was):
    def taps(*operands):
        code = was(*operands)
        return np.repeat(code[:, :1], code.shape[1], 1)

    return taps


def any_tap(was):
    def sent(context, code, seen):
        out = was(context, code, seen)
        kept = is_zero(out)
        plain = np.stack([np.where(kept, lane, lane.flat[0]) for lane in out[:2]])
        return np.concatenate([plain, out[2:]])

    return sent


def step(**changes):
    """Transforms along an axis that moves, wrong in one respect."""

    def fault(was):
        def forward(line, a, sizes, count):
            found = was(line, a, sizes, count)
            change = lambda key: changes[key](getattr(found, key), sizes[0])
            return (
                None if found is None else found._replace(**{key: change(key) for key in changes})
            )

        return forward

    return fault


def half_or_whole(was):
    def steps(context, x, axis, length, sign, half):
        return was(context, x, axis, length, sign, "" if half == "in" else half)

    return steps


def unequal_phases(was):
    return lambda context, call, values: _phases.product(context, call, values, (1, 0))


def always_first(was):
    def control(interpreter, equation, operands):
        return was(interpreter, equation, [Known(np.zeros((), np.int32)), *operands[1:]])

    return control


def forwards(was):
    def control(interpreter, equation, operands):
        params = {**equation.params, "reverse": False}
        return was(interpreter, equation._replace(params=params), operands)

    return control


def rows_of(x, turn):
    return jax.lax.scan(lambda c, r: (c * 0.5 + r, c), x[:, 0], jnp.moveaxis(x, 1, 0), reverse=turn)


def select_by_mean(x):
    return jax.lax.dynamic_slice(x, ((x.mean() > 0).astype(int), 0, 0, 0), (1, 4, 6, 2))


def halved(x):
    """Halves of sums of integers, two ways that agree where division is exact."""
    a, b, c, d = (jnp.roll((9 * x).astype(int), n, 2) for n in range(4))
    half = lambda value: jax.lax.div(value, 2)
    return half(a + b) + half(c + d), half(a + c) + half(b + d)


def drawn_from_x(x):
    key = jax.random.key((1000 * x.max()).astype(int))
    return jax.random.uniform(key, (4, 6))


def reshaped_twice(x):
    wide = jnp.concatenate([x, x[..., :1]], 3).transpose(1, 2, 0, 3)
    return wide.transpose(0, 1, 3, 2), wide.reshape(4, 6, 3, 2).transpose(0, 1, 3, 2)


def read_before(was):
    def places(params, shape, at, out):
        found = was(params, shape, at, out)
        return np.where(found > 0, found - 1, found)

    return places


MUTANTS = {
    "coordinates are dropped": Mutant(
        _multisets,
        "relative",
        no_coordinates,
        (lambda x: (x + jnp.roll(x, 1, 1), x + jnp.roll(x, 2, 1)),),
    ),
    "the greatest common divisor of periods": Mutant(
        _labels,
        "common_period",
        lambda was: lambda periods: np.gcd.reduce(periods, axis=-1),
        (lambda x: jnp.tanh(x.mean((1, 2), keepdims=True)) * x,),
    ),
    "the largest of periods": Mutant(
        _labels,
        "common_period",
        lambda was: lambda periods: periods.max(-1),
        (lambda x: jnp.tanh(x[:, :, ::2].mean(2)) * jnp.tanh(x[:, :, ::3].mean(2)),),
    ),
    "every multiset is invariant": Mutant(
        _multisets,
        "_stabilized",
        lambda was: lambda code, periods, *rest: np.ones_like(periods),
        (lambda x: x[:, ::2].sum((1, 2)),),
    ),
    "multisets are sets": Mutant(
        _multisets,
        "_multiset_names",
        set_names,
        (lambda x: (x + x + jnp.tanh(x), x + jnp.tanh(x)),),
    ),
    "results are seen from the origin": Mutant(
        _labels, "assemble", lambda was: lambda n, s, p: was(n, s * 0, p), shown("cumsum", "conv")
    ),
    "constants ignore position": Mutant(_operands, "hash_rows", first_row, shown("add position")),
    "constants never vary": Mutant(
        Known,
        "varies",
        lambda was: lambda self, axis: False,
        (lambda x: x.mean((1, 2), keepdims=True) * POSITION,),
    ),
    "fine ramps are constant": Mutant(
        _operands, "merge_ulps", ramps_merged, (lambda x: jnp.tanh(x) * RAMP,)
    ),
    "a number with a zero is zero": Mutant(
        _terms, "zero_entries", any_zero, (lambda x: x + PARTS[None],)
    ),
    "bundles transpose in place": Mutant(
        Labels, "through", hidden("transpose"), (lambda x: (x, x.transpose(3, 1, 2, 0)),)
    ),
    "bundles reshape in place": Mutant(Labels, "through", hidden("reshape"), (reshaped_twice,)),
    "bundles are taken in place": Mutant(
        Labels, "through", hidden("take"), (lambda x: (x[..., :1], x[..., 1:]),)
    ),
    "bundles have one entry": Mutant(
        _operands,
        "expanded",
        one_entry,
        (lambda x: x[:, :2] + x[:, :2].transpose(0, 3, 2, 1),),
    ),
    "bundles have no order": Mutant(
        _arrays,
        "combine",
        no_order,
        (lambda x: (jnp.cumsum(x, 1)[:, -2:], jnp.cumsum(x[:, ::-1], 1)[:, -2:]),),
    ),
    "a function ignores its second operand": Mutant(
        RULES,
        "atan2",
        second_ignored,
        (lambda x: [jnp.arctan2(x, jnp.roll(x, n, 1)) for n in (1, 2)],),
    ),
    "a product ignores a factor": Mutant(
        RULES, "mul", second_ignored, (lambda x: [x * jnp.roll(x, n, 1) for n in (1, 2)],)
    ),
    "powers are alike": Mutant(RULES, "integer_pow", parameter(y=3), (lambda x: (x**3, x**5),)),
    "minus is plus": Mutant(
        elementwise, "as_terms", no_sign, (lambda x: (x - jnp.tanh(x), x + jnp.tanh(x)),)
    ),
    "negation is nothing": Mutant(RULES, "neg", keep, (lambda x: (-x, x),)),
    "a product with a number is nothing": Mutant(
        elementwise, "_scaled", lambda was: lambda call, operands: operands[0], shown("scaled sums")
    ),
    "integers divide term by term": Mutant(
        elementwise,
        "_scaled",
        lambda was: lambda call, v: was(replace(call, dtypes=[np.dtype(float)]), v),
        (halved,),
    ),
    "a choice picks the first": Mutant(RULES, "select_n", first_case, shown("select by constant")),
    "equal terms count once": Mutant(
        _terms, "cancelled", lambda was: _terms.distinct, (lambda x: (x + x, x + 0),)
    ),
    "terms cancel themselves": Mutant(
        _terms, "negated", lambda was: lambda terms: terms, (lambda x: x + x,)
    ),
    "zeros drop out of maxima": Mutant(
        elementwise,
        "as_terms",
        kind_of_sums,
        (
            lambda x: (jnp.maximum(jnp.sin(x), 0.0), jnp.maximum(jnp.sin(x), -9.0 + 0 * x)),
            lambda x: (jax.nn.relu(x), jnp.maximum(x, x)),
        ),
    ),
    "reversal is nothing": Mutant(RULES, "rev", keep, shown("flip and add")),
    "tiling repeats": Mutant(RULES, "tile", repeats, shown("tile")),
    "pieces are swapped": Mutant(RULES, "split", swapped, shown("split")),
    "parts are joined backwards": Mutant(
        structure,
        "concatenated",
        lambda was: lambda values, axis, shape, rank: was(values[::-1], axis, shape, rank),
        (lambda x: jnp.concatenate([x, jnp.tanh(x)], 1),),
    ),
    "padding forgets its value": Mutant(
        structure,
        "_filled",
        lambda was: (
            lambda context, x, value, axis, at: was(context, x, Known(np.zeros(())), axis, at)
        ),
        (
            lambda x: [
                jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)), constant_values=v) for v in (0, 1)
            ],
        ),
    ),
    "slices start at zero": Mutant(
        RULES,
        "dynamic_slice",
        starts_at_zero,
        (lambda x: jax.lax.dynamic_slice(x, (0, 1, 2, 0), (2, 2, 3, 2)),),
    ),
    "updates are ignored": Mutant(RULES, "dynamic_update_slice", keep, shown("dynamic update")),
    "gathers read one place before": Mutant(
        index, "gathered_places", read_before, shown("take rows")
    ),
    "gathers forget holes": Mutant(
        index,
        "gathered_places",
        lambda was: lambda *operands: np.maximum(was(*operands), 0),
        shown("take with holes"),
    ),
    "indices are not followed": Mutant(
        index,
        "_taken_along",
        lambda was: lambda context, call, x, at, axis: replace(x, trail=None),
        (lambda x: jnp.take_along_axis(x, jnp.argsort(jnp.tanh(x), 1), 1),),
    ),
    "set elements are lost": Mutant(RULES, "scatter", keep, shown("set rows")),
    "one update a place": Mutant(scatter, "_landing", one_lands, shown("add rows at")),
    "what is subtracted is added": Mutant(
        scatter,
        "as_terms",
        no_sign,
        (
            lambda x: (
                x.at[:, jnp.array([0, 2])].subtract(x[:, :2]),
                x.at[:, jnp.array([0, 2])].add(x[:, :2]),
            ),
        ),
    ),
    "factors at places are lost": Mutant(RULES, "scatter-mul", keep, shown("multiply at")),
    "zero padding wraps around": Mutant(
        windows.Window,
        "index",
        lambda was: lambda self, *, periodic: was(self, periodic=True),
        shown("conv"),
    ),
    "windows forget strides": Mutant(
        windows.Window, "index", geometry(stride=lambda n: 1), shown("conv stride")
    ),
    "windows forget dilation": Mutant(
        windows.Window, "index", geometry(dilation=lambda n: 1), shown("conv dilated")
    ),
    "windows forget zeros in between": Mutant(
        windows.Window, "index", geometry(base=lambda n: 1), shown("conv dilated")
    ),
    "windows begin too late": Mutant(
        windows.Window, "index", geometry(low=lambda n: n - 1), shown("conv", "max pool")
    ),
    "taps are alike": Mutant(
        windows,
        "_kernel_taps",
        first_tap,
        (
            lambda x: [
                conv(wrap(x), jnp.stack([k, k[::-1]]).reshape(6, 3, 2, 4)[:3], padding="VALID")
                for k in (K33, K33[::-1])
            ],
            lambda x: [
                conv(wrap(x), k, padding="VALID")
                for k in (K33, np.concatenate([K33[:1], K33[:0:-1]]))
            ],
        ),
    ),
    "all pools sum": Mutant(
        RULES,
        "reduce_window_max",
        renamed("reduce_window_sum"),
        (lambda x: (window(x, jax.lax.max, -jnp.inf), window(x, jax.lax.add, 0.0)),),
    ),
    "pools send back to any tap": Mutant(
        select, "_sent_back", any_tap, shown("gradient of max pool")
    ),
    "argmax commutes": Mutant(RULES, "argmax", commutes, shown("argmax")),
    "running sums are nothing": Mutant(RULES, "cumsum", keep, shown("cumsum")),
    "running sums forget their direction": Mutant(
        RULES,
        "cumsum",
        parameter(reverse=False),
        (lambda x: [jax.lax.cumsum(x, 1, reverse=reverse) for reverse in (False, True)],),
    ),
    "sorting is nothing": Mutant(RULES, "sort", keep_all, shown("sort")),
    "reductions are alike": Mutant(
        reduce,
        "reduced",
        lambda was: lambda x, axes, name, *, commutes: was(x, axes, "any", commutes=commutes),
        (lambda x: (x.sum(3), x.prod(3)),),
    ),
    "ties of companions do not matter": Mutant(
        RULES, "sort", loose_companions, shown("sort companions")
    ),
    "ties of an order do not matter": Mutant(
        RULES, "gather", loose_order, shown("order of clipped")
    ),
    "contractions ignore their weights": Mutant(
        RULES,
        "dot_general",
        constant_ignored,
        (lambda x: [jnp.einsum("nhwc,wv->nhvc", x, m) for m in (COLUMNS, CIRCULANT)],),
    ),
    "coefficients have no phase": Mutant(
        fourier, "_forward", step(charge=lambda c, n: 0 * c), shown("fft")
    ),
    "phases turn backwards": Mutant(
        fourier, "_forward", step(charge=lambda c, n: -c % n), shown("fft")
    ),
    "coefficients are alike": Mutant(
        fourier, "_forward", step(orbit=lambda k, n: 0 * k), shown("fft2")
    ),
    "transforms roll too far": Mutant(
        fourier,
        "_rolling",
        lambda was: lambda p, q, size, length: was(p, (q + 1) % length, size, length),
        shown("fft and back"),
    ),
    "phases of products are lost": Mutant(
        _phases,
        "added_charges",
        lambda was: lambda a, b, sizes, power=1: was(a, b, sizes, min(power, 1)),
        shown("power spectrum", "square and back"),
    ),
    "real parts keep their phase": Mutant(
        _interpret, "plain", lambda was: lambda value: value, (lambda x: spectrum(x).real,)
    ),
    "sums take any phases": Mutant(
        elementwise,
        "equal_phases",
        unequal_phases,
        (lambda x: spectrum(x) + jnp.roll(spectrum(x), 1, 1),),
    ),
    "real transforms turn with complex ones": Mutant(
        fourier, "_steps", half_or_whole, shown("inverse real of rows only")
    ),
    "the first branch is taken": Mutant(CONTROL, "cond", always_first, shown("cond")),
    "loops run forwards": Mutant(
        CONTROL, "scan", forwards, (lambda x: [rows_of(x, turn) for turn in (False, True)],)
    ),
    "opaque functions have one operand": Mutant(
        _interpret,
        "opaque",
        lambda was: lambda operands, shape, rank, salt: was(operands[1:], shape, rank, salt),
        (select_by_mean,),
    ),
    "random bits repeat": Mutant(RULES, "random_bits", replicated, (drawn_from_x,)),
}


def contradicted(programs):
    with jax.enable_x64(True):
        traced = [trace("test", f, X, (1, 2), None, "generic") for f in programs]
        return [broken_labels(program, X) for program in traced]


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_exposed(name, monkeypatch):
    mutant = MUTANTS[name]
    assert not any(contradicted(mutant.programs)), "the unbroken prover passes"
    if isinstance(mutant.place, dict):
        monkeypatch.setitem(mutant.place, mutant.name, mutant.fault(mutant.place[mutant.name]))
    else:
        was = getattr(mutant.place, mutant.name)
        monkeypatch.setattr(mutant.place, mutant.name, mutant.fault(was))
    assert any(contradicted(mutant.programs))


def test_there_are_enough_mutants():
    assert len(MUTANTS) >= 40
