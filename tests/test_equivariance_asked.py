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


def test_lie_derivatives_refuse_whole_numbers_that_depend_on_the_input():
    """Their derivative is 0: an all-clear for the class of a network that changes its mind."""
    message = (
        "lie_derivative: output 1 of f has no derivative; expected floating-point numbers. "
        "Got dtype=int32. Return the scores that it is made of."
    )
    scores = lambda x: x[:, ::2, ::2].mean((1, 2))
    with raises(ValueError, message):
        eq.lie_derivative(lambda x: (scores(x), scores(x).argmax(-1)), X)
    found = eq.lie_derivative(lambda x: (scores(x), jnp.arange(3)), X)  # no x in it
    assert found.relative == pytest.approx(eq.lie_derivative(scores, X).relative)


UNDEFINED = {
    "everywhere": lambda x: jnp.log(-jnp.abs(x) - 1).mean((1, 2)),
    "on the image": lambda x: x.mean((1, 2)) / jnp.where(x[0, 0, 0, 0] == X[0, 0, 0, 0], 0.0, 1.0),
    "on what is moved": lambda x: (
        x.mean((1, 2)) / jnp.where(x[0, 0, 0, 0] == X[0, 0, 0, 0], 1.0, 0.0)
    ),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_nan_and_infinity_are_no_answers(name):
    """No all-clear where both runs give NaN, no percentage of what is none."""
    found = eq.audit(UNDEFINED[name], X)
    assert not found.obeys
    first = str(found).splitlines()[0]
    assert first.endswith("at shift (1, 3) the output is NaN or infinite.")
    with pytest.raises(AssertionError, match="not invariant to the circular shift"):
        eq.assert_shift_invariant(UNDEFINED[name], X)


def means(x, low):
    """Two operations that break the law, and a sound mean, each on its line."""
    y = x + x[:, :, :1]
    y = jnp.log(y * x[:, :1] * 0 + low)
    return y.mean((1, 2))


def test_what_reads_nan_is_not_accused_of_it():
    """Of a mean that reads NaN nothing is known; what makes NaN would break the law by itself."""
    poisoned, sound = (eq.audit(lambda x, low=low: means(x, low), X) for low in (-1.0, 1.0))
    assert [operation.eps_inf for operation in poisoned.operations[-2:]] == [np.inf, np.inf]
    assert [operation.also for operation in poisoned.operations] == [False, True, False]
    assert sound.operations[-1].eps_inf == 0
    assert not any(operation.also for operation in sound.operations)


def test_pictures_and_pages_of_nan_say_so(tmp_path):
    pytest.importorskip("matplotlib")
    written = lambda f: [word.get_text() for word in eq.plot_errors(eq.audit(f, X)).texts]
    assert written(lambda x: jnp.log(broken(x) * 0 - 1)) == ["NaN or infinite"]
    assert written(broken) == []
    eq.audit_page(eq.audit(UNDEFINED["everywhere"], X), tmp_path / "page.html")
    page_data = shown(tmp_path / "page.html")
    assert page_data["answer"].endswith("the output is NaN or infinite.")
    assert [row["error"] for row in page_data["rows"]] == [None]


def test_consistency_refuses_nan():
    """The class of NaN scores is always the same, which is no steadiness."""
    count = X.shape[1] * X.shape[2]
    message = (
        f"consistency: f returns NaN; expected class scores. Got NaN in {count} of {count} "
        "predictions of a batch, first at shift (0, 0) of image 0. "
        "Look for it with audit(f, x[0:1])."
    )
    with raises(ValueError, message):
        eq.consistency(UNDEFINED["everywhere"], X[:1])
    second = lambda x: x.mean((1, 2)) / jnp.where(jnp.arange(len(x)) == 1, jnp.nan, 1.0)[:, None]
    message = (
        f"consistency: f returns NaN; expected class scores. Got NaN in {count} of {2 * count} "
        "predictions of a batch, first at shift (0, 0) of image 1. "
        "Look for it with audit(f, x[1:2])."
    )
    with raises(ValueError, message):
        eq.consistency(second, jnp.concatenate([X[:1], X[:1]]))


def test_pictures_refuse_what_cannot_be_drawn():
    pytest.importorskip("matplotlib")
    message = (
        "plot_maps: columns is too small; expected at least 1. Got columns=0. "
        "Use columns=1 or more."
    )
    with raises(ValueError, message):
        eq.plot_maps(eq.audit(broken, X), columns=0)
    for shape in ((5,), (0, 3)):
        message = (
            "plot_prediction_grid: grid is no map of predictions; expected (height, width). "
            f"Got shape {shape}. Use what prediction_grid returns."
        )
        with raises(ValueError, message):
            eq.plot_prediction_grid(np.zeros(shape, int))


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
