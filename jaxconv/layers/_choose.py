"""How a layer chooses a phase: by a norm, or by what a small network says of each."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxconv import _children, _parse, ops
from jaxconv._types import HasShape, IntOrInts, Layer, LayerLike, Params, State
from jaxconv.layers import _checks
from jaxconv.layers._make import stateless
from jaxconv.ops.polyphase_select import NORMS, checked_strides

Temperature = float | Callable[[jax.Array], Any]
"""A number, or a function of the number of training steps so far (an optax schedule)."""


class Chooser(NamedTuple):
    """A choice with its parameters.

    Attributes:
        init: (name, key, x) -> (params, state), with the entries "scorer" and "step".
        apply: (name, (params, state), x, train=, key=) -> (index, state): whole numbers (N,), or
            weights (N, phases) in training with a scorer.
    """

    init: Callable[[str, Any, HasShape], tuple[Params, State]]
    apply: Callable[..., tuple[jax.Array, State]]


def chooser(
    where: str,
    stride: IntOrInts,
    norm: str,
    scorer: LayerLike | None,
    temperature: Temperature,
    low_pass: IntOrInts | None,
) -> Chooser:
    """Checks the arguments of a layer that chooses, and returns its choice."""
    _parse.ints(where, "stride", stride)
    _parse.choice(where, "norm", norm, NORMS)
    if low_pass is not None:
        _parse.ints(where, "low_pass", low_pass)
    if not callable(temperature) and not temperature > 0:
        raise ValueError(
            f"{where}: noise cannot be divided by such a temperature; expected more than 0. "
            f"Got temperature={temperature}. Use temperature=1.0, or a schedule."
        )
    if scorer is None:
        by_norm = lambda x: ops.polyphase_select(x, stride, norm=norm).index
        choice = Chooser(
            lambda name, key, x: ({}, {}),
            lambda name, trees, x, *, train, key: (by_norm(x), trees[1]),
        )
    else:
        network = scorer
        if not isinstance(network, Layer):
            network = stateless(_children.function_name(scorer), network)
        choice = _learned(where, stride, norm, network, temperature)

    def check(x: HasShape) -> None:
        rank = len(checked_strides(where, x, stride))
        if low_pass is not None:
            _parse.per_axis(where, "low_pass", low_pass, rank)

    def init(name, key, x):
        check(x)
        return choice.init(name, key, x)

    def apply(name, trees, x, *, train, key):
        check(x)
        return choice.apply(name, trees, x, train=train, key=key)

    return Chooser(init, apply)


def _learned(
    where: str, stride: IntOrInts, norm: str, scorer: Layer, temperature: Temperature
) -> Chooser:
    def phases(x):
        return ops.polyphase_split(x, stride).astype(_checks.wide(x))

    def init(name, key, x):
        split = _checks.fits(phases, x)
        with _children.located(name, "scorer", split):
            parts = scorer.init(_children.fold(key, "scorer"), split)
        params, state = {}, {"step": jnp.zeros((), jnp.float32)}
        for tree, entry in zip((params, state), parts, strict=True):
            _children.put(tree, "scorer", entry)
        return params, state

    def apply(name, trees, x, *, train, key):
        split = phases(x)
        said, new = _children.run(name, "scorer", scorer, trees, split, train=train, key=key)
        count = math.prod(_parse.per_axis(where, "stride", stride, x.ndim - 2))
        logits = said.reshape(x.shape[0], count, math.prod(said.shape[1:])).mean(-1)
        if not train:
            return ops.polyphase_select(x, stride, norm=norm, logits=logits).index, trees[1]
        if key is None:
            raise ValueError(
                f"{where}: has no key to draw the noise of its choice from; expected one when "
                f"train=True. Got key=None. Call apply(..., train=True, key=jax.random.key(0)), "
                f"with a new key every step."
            )
        step = trees[1]["step"]
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers with floats
            heat = jnp.asarray(temperature(step) if callable(temperature) else temperature)
        noise = jax.random.gumbel(_children.fold(key, "noise"), logits.shape, logits.dtype)
        weights = jax.nn.softmax((logits + noise) / heat.astype(logits.dtype)[None, None], axis=-1)
        state = dict(trees[1]) | {"step": step + 1}
        _children.put(state, "scorer", new)
        return weights.astype(x.dtype), state

    return Chooser(init, apply)
