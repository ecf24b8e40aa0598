"""Sampling on the phase that the image itself chooses: a stride that commutes with every shift.

A stride s keeps the pixels s·i + 0 and drops the other phases s·i + p. A circular shift permutes
the phases (and rolls them), so if the choice of p follows the content, the output of a shifted
image is the output of the image, rolled. The choice follows the content exactly if it is computed
in a way that no roll of a phase can change, to the last bit. So it uses whole numbers, whose sum
has no order:

1. score: the norm of each phase, its terms rounded to fractions of the largest;
2. view: a hash of what each pixel of the phase sees when it looks around the whole image, in
   log₂(pixels) rounds of doubling reach, summed over the pixels. Equal views mean that a shift
   from one phase to the other leaves the image as it is (or, once in 2³¹, a collision).

The largest (score, view) wins. What ties in both are phases of a periodic image: whatever is done
with the one or the other, the outputs are rolls of each other. A view of the phase alone would not
do: phases that are rolls of each other in an image that is not periodic have other neighbors, which
a blur before sampling and a decoder after it see. How many tie is returned, and the margin.

A learned score is a float that some network made of each phase. Scores that differ by no more than
rounding can explain count as equal, and the norm and the view decide among them.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv import _parse
from jaxconv._types import HasShape, IntOrInts
from jaxconv.ops._phase_scores import (
    over_phases,
    phase_terms,
    pixel_scores,
    pixel_views,
)
from jaxconv.ops.conv import check_divides

NORMS = ("l2", "l1", "linf")
ROUNDING = 1024
"""Logits closer than this many units of rounding of the largest are equal: 1.2e-4 in float32."""


class Selection(NamedTuple):
    """Which phase each example chose, and how safely.

    Attributes:
        index: (N,) int32, the phase p, row-major over the axes: p = Σ p_a · Π s_b, b after a.
        margin: (N,) float32, (best score - second) / best, 0 for a tie of scores; for logits the
            difference relative to the largest absolute one.
        ties: (N,) int32, how many other phases see what the chosen one sees: those that a period
            of the image leads to. An output that is sampled only is the same up to a roll;
            `polyphase_up` has no place of its own to put it then, as no function has.
        radius: (N,) float32, a certificate: errors of every value of x by less than
            radius · max |x| do not change the choice. 0 where that is not known, as for ties of
            scores and for logits.
    """

    index: jax.Array
    margin: jax.Array
    ties: jax.Array
    radius: jax.Array


def polyphase_select(
    x: jax.Array, stride: IntOrInts, *, norm: str = "l2", logits: jax.Array | None = None
) -> Selection:
    """Chooses the phase with the largest norm, by content only.

        p[n] = argmax_p ‖x[n, s·i + p, c]‖ over all i and c

    or the one with the largest logit; the norm then decides among logits that differ by rounding.

    Shapes: x (N, *spatial, C), logits (N, phases) -> index, margin, ties, radius (N,).

    Args:
        x: finite images, floating, of axes that close into circles.
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf".
        logits: scores in float32 or float64, made elsewhere, of every phase of
            `polyphase_split`, the same for each.

    Returns:
        A `Selection`. It has no gradient.

    Raises:
        TypeError: when x holds integers.
        ValueError: for an unknown norm, logits of another shape, or an axis that the stride does
            not divide.

    Example:
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> found = polyphase_select(x, 2)
        >>> found.index.tolist(), found.ties.tolist()
        ([1], [0])
        >>> polyphase_select(x, 2, logits=jnp.array([[5.0, 1.0]])).index.tolist()
        [0]

    References:
        Chaman and Dokmanic 2021, arXiv:2011.14214, section 3.1; the order-free scores, the views
        and the certificate are ours.
    """
    strides = checked_strides("polyphase_select", x, stride)
    _parse.choice("polyphase_select", "norm", norm, NORMS)
    x = lax.stop_gradient(x)
    reduce = jnp.max if norm == "linf" else jnp.sum
    score = over_phases(pixel_scores(x, norm, strides), strides, reduce)
    view = over_phases(pixel_views(x), strides, jnp.sum)
    if logits is not None:
        logits = lax.stop_gradient(logits)
        _check_logits(x, logits, score.shape)
        size = jnp.max(jnp.abs(logits), axis=1, keepdims=True)
        top = jnp.max(logits, axis=1, keepdims=True)
        score = jnp.where(logits >= top - ROUNDING * jnp.finfo(logits.dtype).eps * size, score, -1)
    best = jnp.max(score, axis=1, keepdims=True)
    leading = jnp.where(score == best, view | 1, 0)
    index = jnp.argmax(leading, axis=1).astype(jnp.int32)
    chosen = jnp.arange(score.shape[1], dtype=jnp.int32)[None] == index[:, None]
    equal = leading == jnp.max(leading, axis=1, keepdims=True)
    ties = jnp.sum(equal, axis=1, dtype=jnp.int32) - 1
    if logits is not None:
        lead = jnp.max(logits, 1) - jnp.max(jnp.where(chosen, -jnp.inf, logits), 1)
        margin = lead.astype(jnp.float32) / jnp.maximum(size[:, 0], 1e-30).astype(jnp.float32)
        return Selection(index, jnp.maximum(margin, 0), ties, jnp.zeros_like(margin))
    second = jnp.max(jnp.where(chosen, 0, score), axis=1)
    gap, best = ((best[:, 0] - second).astype(jnp.float32), best[:, 0].astype(jnp.float32))
    radius = _radius(gap, best, norm, phase_terms(x, norm, strides), score.shape[1])
    return Selection(index, gap / jnp.maximum(best, 1), ties, radius)


def _radius(gap: jax.Array, best: jax.Array, norm: str, terms: int, phases: int) -> jax.Array:
    """How far each value may be off, relative to the largest, before the choice can change.

    Errors e of n values of a phase, |e| <= r·max|x|, change its norm by at most r·max|x|·n^(1/q),
    q = 2, 1, ∞, and the best norm is at least max|x| (the phase that holds it has that much). So
    the choice stands while (1 - r·n^(1/q)) > (1 - m)^(1/2 or 1) + r·n^(1/q), m the margin of the
    scores. Scores are rounded, each term by half a unit, before and after the errors: 4 units a
    term are taken off the margin for that.
    """
    if phases == 1:
        return jnp.full_like(gap, jnp.inf)
    margin = jnp.maximum(gap - 4 * terms, 0) / jnp.maximum(best, 1)
    if norm == "l2":
        return (1 - jnp.sqrt(1 - margin)) / (2 * math.sqrt(terms))
    return margin / (2 * terms)


def checked_strides(where: str, x: HasShape, stride: IntOrInts) -> tuple[int, ...]:
    """Strides per axis of a floating x; refuses those that do not divide it."""
    _parse.floating(where, "x", x)
    strides = _parse.per_axis(where, "stride", stride, len(_parse.image(where, x)))
    for axis, step in enumerate(strides):
        check_divides(where, x, axis, step, "")
    return strides


def _check_logits(x: jax.Array, logits: jax.Array, shape: tuple[int, ...]) -> None:
    if logits.shape != shape or logits.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(
            f"polyphase_select: logits hold {logits.dtype} of shape {logits.shape}; expected "
            f"float32 or float64 {shape}, one per example and phase. Got x of shape {x.shape}. "
            f"Score every phase of polyphase_split(x, stride) in float32."
        )
