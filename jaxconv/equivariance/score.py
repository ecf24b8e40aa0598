"""Scores of predictors under shifts, with the protocol printed beside every number."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _parse
from jaxconv.compiler_options import tuned_jit
from jaxconv.equivariance import _moves
from jaxconv.equivariance._program import chunk_of, mapped, traced
from jaxconv.equivariance.actions import Action, Shifts, circular_shift
from jaxconv.equivariance.protocols import Protocol, action_of, drawn_from, protocol, rows_of


class Consistency(NamedTuple):
    """How steady the predictions of a classifier are under shifts.

    Attributes:
        kind: how images were shifted.
        range: smallest and largest displacement along each axis.
        shifts: how many shifts every image was given.
        pairs: which predictions were compared.
        images: how many.
        seed: of drawn shifts.
        c_all: share of images whose prediction is the same under all shifts.
        c_pair: probability that two shifts of an image are predicted alike.
        accuracy: share predicted right, over all images and shifts; NaN without labels.
        a_adv: share predicted right under all shifts; NaN without labels.
        mac: mean change of the probability of the class predicted first.
        change: largest change of an output relative to the largest output.
        margin: smallest lead of the first class over the second; above twice the largest change
            of an output no prediction can flip.
        ties: predictions whose two first classes are equal.
        worst: per image the shift that lowers the probability of its class the most.
        predictions: (shifts, images).
    """

    kind: str
    range: tuple[float, float]
    shifts: int
    pairs: str
    images: int
    seed: int
    c_all: float
    c_pair: float
    accuracy: float
    a_adv: float
    mac: float
    change: float
    margin: float
    ties: int
    worst: np.ndarray
    predictions: np.ndarray

    def __str__(self) -> str:
        """The numbers under the protocol that they belong to."""
        labeled = (
            ""
            if np.isnan(self.accuracy)
            else (f"accuracy {self.accuracy:.2%} · A_adv {self.a_adv:.2%} · ")
        )
        return (
            f"{self.kind}, {self.shifts} shifts from {self.range[0]:g} to {self.range[1]:g} "
            f"pixels, {self.pairs}, {self.images} images, seed {self.seed}\n"
            f"{labeled}C_all {self.c_all:.2%} · C_pair {self.c_pair:.2%} · MAC {self.mac:.2e} · "
            f"largest change {self.change:.1e} · smallest margin {self.margin:.1e} · "
            f"ties {self.ties}"
        )


def consistency(
    f: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    labels: Any = None,
    *,
    action: Action | str = "circular",
    shifts: Shifts = "all",
    protocol: str | Protocol | None = None,
    batch: int = 100,
    chunk: int | None = None,
    axes: Sequence[int] | None = None,
    seed: int = 0,
) -> Consistency:
    """Asks a classifier about every shift of every image and counts how often it changes its mind.

        C_all = mean_x [argmax f(T_t x) is one class for all t]
        C_pair = mean_x P_{t,t'}[argmax f(T_t x) = argmax f(T_t' x)]
        A_adv = mean_x [argmax f(T_t x) is right for all t]
        MAC = mean_{x,t} |p_c(x) - p_c(T_t x)|, c the class predicted first

    Args:
        f: images (N, *spatial, C) to class scores (N, classes).
        x: all images; larger than what f takes where the action crops.
        labels: (N,) true classes.
        action: "circular" or an `Action` that displaces; not used with a protocol.
        shifts: "all", how many to draw, or rows of them; for an action given by name.
        protocol: a published way to draw shifts, by name: see `PROTOCOLS`.
        batch: images at once.
        chunk: shifts at once; bounds memory.
        axes: moved axes; all between the first and the last unless given.
        seed: of drawn shifts.

    Returns:
        A `Consistency`; printed, it names its protocol.

    Raises:
        ValueError: when f returns no (N, classes) or NaN, or images are smaller than the
            protocol's.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
        >>> consistency(lambda x: x.mean((1, 2)), x).c_all
        1.0

    References:
        Zhang 2019, arXiv:1904.11486, section 4 (consistency); Chaman and Dokmanic 2021,
        arXiv:2011.14214; Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085 (MAC, adversarial
        accuracy).
    """
    where = "consistency"
    _parse.integer(where, "batch", batch)
    moved = tuple(range(1, x.ndim - 1)) if axes is None else tuple(axes)
    plan = _plan(protocol)
    if plan is not None:
        action = action_of(plan, [x.shape[axis] for axis in moved])
    elif isinstance(action, str):
        _parse.choice(where, "action", action, ("circular",))
        action = circular_shift(shifts, seed=seed)
    sizes = [x.shape[axis] for axis in moved]
    rng = np.random.default_rng(seed)
    found, used, compiled = [], [], {}
    for _ in range(plan.passes if plan else 1):
        for start in range(0, len(x), batch):
            rows = action.elements(sizes) if plan is None else rows_of(plan, sizes, rng)
            part = x[start : start + batch]
            if len(part) not in compiled:  # the last batch may be smaller
                compiled[len(part)] = _scorer(f, part, action, moved, chunk)
            scores = np.asarray(compiled[len(part)](part, jnp.asarray(rows)))
            _refuse_nan(scores, start, rows)
            found.append(_gather(scores))
            used.append(rows)
    return _summary(found, used, labels, plan, action, seed, x)


def _plan(choice: str | Protocol | None) -> Protocol | None:
    return protocol(choice) if isinstance(choice, str) else choice


def _scorer(f, x, action: Action, axes, chunk) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Images like x and rows of shifts -> class scores (shifts, images, classes)."""
    based = action.base(x, axes)
    program = traced(f, x, based)
    shape = program.shapes[0].shape
    if len(program.shapes) != 1 or len(shape) != 2 or shape[0] != len(x):
        raise ValueError(
            f"consistency: f returns {[s.shape for s in program.shapes]}; expected class scores "
            f"(N, classes). Got x of shape {tuple(x.shape)}. Use dense_consistency for maps, or "
            f"return the logits only."
        )

    def run(constants, x, rows):
        one = lambda row: program.run(constants, [action.move(x, row, axes)])[0]
        return mapped(one, rows, chunk_of(chunk, [based]))

    return functools.partial(tuned_jit(run), program.constants)


def _refuse_nan(scores: np.ndarray, start: int, rows: np.ndarray) -> None:
    """NaN is no score: the class that argmax makes of it is always the same."""
    found = np.argwhere(np.isnan(scores).any(-1))
    if len(found):
        shift, image = found[0]
        moved = ", ".join(f"{pixels:g}" for pixels in rows[shift])
        raise ValueError(
            f"consistency: f returns NaN; expected class scores. Got NaN in {len(found)} of "
            f"{scores[..., 0].size} predictions of a batch, first at shift ({moved}) of image "
            f"{start + image}. Look for it with audit(f, x[{start + image}:{start + image + 1}])."
        )


class _Batch(NamedTuple):
    """What is kept of the scores (shifts, images, classes) of a batch."""

    predictions: np.ndarray
    probability: np.ndarray
    margin: float
    ties: int
    change: float


def _gather(scores: np.ndarray) -> _Batch:
    wide = scores.astype(np.float64)
    first = wide[0].argmax(-1)
    exponent = np.exp(wide - wide.max(-1, keepdims=True))
    softmax = exponent / exponent.sum(-1, keepdims=True)
    probability = np.take_along_axis(softmax, first[None, :, None], axis=-1)[..., 0]
    if wide.shape[-1] > 1:
        top = np.sort(wide, axis=-1)
        lead = top[..., -1] - top[..., -2]
    else:
        lead = np.full(wide.shape[:2], np.inf)
    change = np.abs(wide - wide[:1]).max() / max(np.abs(wide).max(), 1e-300)
    return _Batch(
        wide.argmax(-1), probability, float(lead.min()), int((lead == 0).sum()), float(change)
    )


def _summary(found, used, labels, plan, action, seed, x) -> Consistency:
    predictions = np.concatenate([batch.predictions for batch in found], axis=1)
    probability = np.concatenate([batch.probability for batch in found], axis=1)
    same = (predictions == predictions[0]).all(axis=0)
    right = np.full(predictions.shape, np.nan)
    if labels is not None:
        repeated = np.tile(np.asarray(labels), plan.passes if plan else 1)
        right = (predictions == repeated).astype(float)
    everything = np.concatenate(used)
    worst = np.concatenate(
        [rows[b.probability.argmin(axis=0)] for rows, b in zip(used, found, strict=True)]
    )
    pairs = "all pairs"
    if plan is not None:
        pairs = "pairs of draws" if plan.compare == "pair" else "against the unshifted"
        pairs += ", one draw a batch" if plan.taken == "drawn" else ""
        pairs += f", {plan.passes} passes" if plan.passes > 1 else ""
    kind = action.name
    if plan is not None:
        kind = f"protocol {plan.name} ({plan.kind}, {drawn_from(plan)})"
    return Consistency(
        kind,
        (float(everything.min()), float(everything.max())),
        len(predictions),
        pairs,
        len(x),
        seed,
        float(same.mean()),
        _pair(predictions, plan),
        float(right.mean()),
        float((right == 1).all(axis=0).mean()) if labels is not None else float("nan"),
        float(np.abs(probability - probability[0]).mean()),
        max(batch.change for batch in found),
        min(batch.margin for batch in found),
        sum(batch.ties for batch in found),
        worst,
        predictions,
    )


def _pair(predictions: np.ndarray, plan: Protocol | None) -> float:
    """How often two predictions of an image agree: of two shifts, or of a shift and none."""
    if plan is not None:
        return float((predictions[1:] == predictions[0]).mean())
    count = len(predictions)
    classes = np.unique(predictions)
    shares = np.stack([(predictions == c).sum(axis=0) / count for c in classes])
    return float((shares**2).sum(axis=0).mean())


def prediction_grid(
    f: Callable[[jax.Array], jax.Array], image: jax.Array, *, chunk: int | None = None
) -> np.ndarray:
    """First class of one image under every circular shift of its two axes: (height, width).

    Args:
        f: images (N, height, width, C) to class scores (N, classes).
        image: (height, width, C).
        chunk: shifts at once.

    Returns:
        Integers (height, width): entry (a, b) is the prediction after a roll by (a, b).

    Example:
        >>> prediction_grid(lambda x: x.mean((1, 2)), jnp.ones((4, 6, 3))).shape
        (4, 6)
    """
    program = traced(f, image[None], image[None])
    height, width = image.shape[:2]
    rows = jnp.asarray(list(itertools.product(range(height), range(width))))

    def run(constants, x, rows):
        one = lambda row: jnp.argmax(
            program.run(constants, [_moves.each(_moves.roll, x, row, (1, 2))])[0], axis=-1
        )[0]
        return mapped(one, rows, chunk_of(chunk, [image]))

    found = tuned_jit(run)(program.constants, image[None], rows)
    return np.asarray(found).reshape(height, width)
