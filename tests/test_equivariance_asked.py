"""What audits, Lie derivatives and pages cannot be asked: clear words, and never an all-clear."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import raises

from jaxconv import equivariance as eq
from jaxconv.equivariance import page

X = jax.random.normal(jax.random.key(0), (1, 4, 4, 2))


def broken(x):
    return x[:, ::2].mean((1, 2))


AUDITS = {
    "a part of a pixel": (
        {"shift": (0.5, 0)},
        TypeError,
        "audit: shift is of type float; expected an int. Got shift=0.5. Pass a whole number.",
    ),
    "no motion": (
        {"shift": (0, 0)},
        ValueError,
        "audit: shift moves nothing on the circle; expected one that is no multiple of every size "
        "of (4, 4). Got shift=(0, 0). Use shift=(1, 1).",
    ),
    "once around": (
        {"shift": (4, -8)},
        ValueError,
        "audit: shift moves nothing on the circle; expected one that is no multiple of every size "
        "of (4, 4). Got shift=(4, -8). Use shift=(1, 1).",
    ),
    "too few axes": (
        {"shift": (1,)},
        ValueError,
        "audit: shift has not one entry for each of the 2 moved axes; expected a tuple of 2. "
        "Got shift=(1,). Use shift=(1, 1), or name the moved axes with axes=.",
    ),
    "a lone number": (
        {"shift": 1},
        ValueError,
        "audit: shift has not one entry for each of the 2 moved axes; expected a tuple of 2. "
        "Got shift=1. Use shift=(1, 1), or name the moved axes with axes=.",
    ),
    "a row too far": (
        {"counterfactual": [99]},
        ValueError,
        "audit: counterfactual names a row that is not there; expected numbers below 1. "
        "Got counterfactual=[99]. Rows count from 0, as in Audit.operations.",
    ),
    "a row from the end": (
        {"counterfactual": [-1]},
        ValueError,
        "audit: counterfactual is too small; expected at least 0. Got counterfactual=-1. "
        "Use counterfactual=0 or more.",
    ),
    "a lone row": (
        {"counterfactual": 0},
        TypeError,
        "audit: counterfactual is of type int; expected True, False, or numbers of rows. "
        "Got counterfactual=0. Use counterfactual=[0], say.",
    ),
    "a negative tolerance": (
        {"tolerance": -1.0},
        ValueError,
        "audit: tolerance is no limit of an error; expected a number of at least 0. "
        "Got tolerance=-1.0. Leave it out for 10 times the dtype's.",
    ),
    "no tolerance at all": (
        {"tolerance": float("nan")},
        ValueError,
        "audit: tolerance is no limit of an error; expected a number of at least 0. "
        "Got tolerance=nan. Leave it out for 10 times the dtype's.",
    ),
}


@pytest.mark.parametrize(("options", "kind", "message"), AUDITS.values(), ids=AUDITS)
def test_audits_refuse(options, kind, message):
    with raises(kind, message):
        eq.audit(broken, X, **options)


def test_what_is_asked_right_is_answered():
    asked: dict[str, Any] = {"shift": np.array([1, 0]), "counterfactual": np.array([0])}
    found = eq.audit(broken, X, tolerance=0.1, **asked)
    assert not found.obeys
    assert found.shift == (1, 0)
    assert found.operations[0].added > 0.1


def test_four_axes_move_by_different_odd_numbers():
    x = jax.random.normal(jax.random.key(0), (1, 3, 2, 2, 5, 1))
    found = eq.audit(lambda x: x[:, :, :, :, ::5].mean((1, 2, 3, 4)), x, lie=False)
    assert found.shift == (1, 3, 5, 7)
    assert not found.obeys


VELOCITIES = {
    "rest": (
        (0.0, 0.0),
        "lie_derivative: velocity is no direction; expected finite numbers, not all 0. "
        "Got velocity=(0.0, 0.0). Use velocity=(1.0, 1.0).",
    ),
    "no number": (
        (float("nan"), 1.0),
        "lie_derivative: velocity is no direction; expected finite numbers, not all 0. "
        "Got velocity=(nan, 1.0). Use velocity=(1.0, 1.0).",
    ),
    "too many axes": (
        (1, 1, 1),
        "lie_derivative: velocity has not one entry for each of the 2 moved axes; expected a tuple "
        "of 2. Got velocity=(1, 1, 1). Use velocity=(1, 1), or name the moved axes with axes=.",
    ),
}


@pytest.mark.parametrize(("velocity", "message"), VELOCITIES.values(), ids=VELOCITIES)
def test_lie_derivatives_refuse(velocity, message):
    with raises(ValueError, message):
        eq.lie_derivative(jnp.tanh, X, velocity)


def shown(path):
    """The data of a page."""
    text = path.read_text("utf-8")
    start = text.index("{", text.index('type="application/json"'))
    return json.JSONDecoder().raw_decode(text[start:])[0]


def test_pages_refuse_no_steps(tmp_path):
    message = (
        "audit_page: steps is too small; expected at least 1. Got steps=0. Use steps=1 or more."
    )
    with raises(ValueError, message):
        page.audit_page(eq.audit(broken, X), tmp_path / "page.html", steps=0)
    assert not (tmp_path / "page.html").exists()


PAGES = {
    "scores that are no numbers": (lambda x: jnp.full((1, 2), jnp.nan) + broken(x), X),
    "complex scores": (lambda x: broken(x).astype(jnp.complex64), X),
    "no classes": (lambda x: broken(x)[:, :0], X),
    "an image that is no number": (broken, X.at[0, 0, 0, 0].set(jnp.nan)),
}


@pytest.mark.parametrize(("f", "x"), PAGES.values(), ids=PAGES)
def test_pages_leave_out_what_cannot_be_drawn(f, x, tmp_path):
    page.audit_page(eq.audit(f, x), tmp_path / "page.html")
    content = shown(tmp_path / "page.html")
    assert content["predictions"] is None
    assert (content["image"] is None) == (not bool(jnp.isfinite(x).all()))
    page.audit_page(eq.audit(broken, X), tmp_path / "control.html")
    control = shown(tmp_path / "control.html")
    assert None not in (control["predictions"], control["image"])
