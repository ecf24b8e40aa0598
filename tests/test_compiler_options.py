"""Which options the compiler gets: what a program is found to contain, and that options arrive."""

import functools
import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, needs_primitives
from jax import lax

import jaxconv as jc
from jaxconv.compiler_options import TABLE, Content, choose, content, tuned_jit
from jaxconv.doctor import _programs
from jaxconv.ops._convolution import convolve, input_gradient, kernel_gradient
from jaxconv.ops._cpu.taps import Slide

ROWS = [(place, row) for place, rows in TABLE.items() for row in rows]
KNOWN = TABLE["cpu", "0.10.2"]


def _shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def _conv(x, kernel, groups=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    options = {"dimension_numbers": numbers, "feature_group_count": groups}
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", **options)


X, KERNEL, PIXEL, DEPTHWISE = (
    _shape(2, 7, 6, 4),
    _shape(3, 2, 4, 5),
    _shape(1, 1, 4, 5),
    _shape(3, 3, 1, 4),
)
WORK = 2 * (5 * 5) * (3 * 2) * 4 * 5


@pytest.mark.parametrize(
    ("f", "args", "found"),
    [
        (_conv, (X, KERNEL), Content(dense=WORK)),
        (_conv, (X, PIXEL), Content(products=2 * 7 * 6 * 4 * 5)),
        (functools.partial(_conv, groups=4), (X, DEPTHWISE), Content(grouped=2 * 5 * 4 * 9 * 4)),
        pytest.param(
            lambda x: jc.ops.max_pool(x, 2), (X,), Content(pools=1), marks=needs_primitives
        ),
        (lambda x: jc.ops.max_pool(x, 1, stride=2), (X,), Content()),
        (jnp.dot, (_shape(3, 4), _shape(4, 5)), Content(products=60)),
        (lambda a: jnp.sin(a).sum(), (X,), Content()),
        (lambda x, k: jax.checkpoint(jax.jit(_conv))(x, k), (X, KERNEL), Content(dense=WORK)),
        (
            lambda x, k: lax.scan(lambda c, _: (c + _conv(x, k).sum(), None), 0.0, None, 3)[0],
            (X, KERNEL),
            Content(dense=WORK),
        ),
        (
            lambda x, k: lax.cond(x.sum() > 0, lambda: _conv(x, k), lambda: _conv(x, -k)),
            (X, KERNEL),
            Content(dense=2 * WORK),
        ),
    ],
)
def test_content(f, args, found):
    assert content(f, *args) == found


def test_content_of_gradients_is_told_from_their_windows():
    """The gradient in a kernel of one tap has a 'window' as large as the image."""
    for groups, kernel, kind in ((1, KERNEL, "dense"), (1, PIXEL, "products")):
        loss = lambda x, k, g=groups: jnp.square(_conv(x, k, g)).sum()
        found = content(jax.grad(loss, (0, 1)), X, kernel)
        assert [name for name in Content._fields if getattr(found, name)] == [kind]
    loss = lambda x, k: jnp.square(_conv(x, k, 4)).sum()
    found = content(jax.grad(loss, (0, 1)), X, DEPTHWISE)
    assert found._replace(grouped=0) == Content()


@needs_primitives
@pytest.mark.parametrize(("groups", "kind"), [(1, "dense"), (2, "grouped")])
def test_content_of_our_own_convolutions(groups, kind):
    slide = Slide((1, 1), (1, 1), ((0, 0), (0, 0)), groups)
    kernel, g = _shape(3, 2, 4 // groups, 6), _shape(2, 5, 5, 6)
    work = Content(**{kind: 2 * 25 * 6 * 4 * 6 // groups})
    assert content(lambda x, k: convolve(x, k, slide), X, kernel) == work
    assert content(lambda g, k: input_gradient(g, k, slide, (7, 6)), g, kernel) == work
    assert content(lambda x, g: kernel_gradient(x, g, slide, (3, 2)), X, g) == work


def _loss(model, shape):
    params, state = jax.eval_shape(model.init, jax.random.key(0), _shape(*shape))
    f = lambda p, s, x: model.apply(p, s, x, train=True, key=jax.random.key(0))[0].sum()
    return jax.grad(f), params, state, _shape(*shape)


@needs_primitives  # without, a max pool is slices
@pytest.mark.parametrize(
    ("model", "shape", "row"),
    [
        (jc.models.lenet(), (2, 28, 28, 1), "anything else"),
        (jc.models.resnet(20, 10), (2, 32, 32, 3), "dense convolutions"),
        (jc.serial(jc.depthwise_conv(3), jc.conv(8, 1)), (1, 8, 8, 4), "anything else"),
        (jc.serial(jc.conv(8, 3), jc.depthwise_conv(3)), (1, 8, 8, 4), "anything else"),
        (jc.dense(5), (2, 3), "anything else"),
    ],
)
def test_choice(model, shape, row):
    assert choose(content(*_loss(model, shape)), KNOWN).name == row


def test_nothing_is_set_where_nobody_measured(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "0.10.2")
        found = jc.compiler_options(_conv, X, KERNEL)
        assert found == KNOWN[0].options
        assert found is not KNOWN[0].options
        patch.setattr(jax, "default_backend", lambda: "gpu")
        assert jc.compiler_options(_conv, X, KERNEL) == {}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0")
    assert jc.compiler_options(_conv, X, KERNEL) == {}


@pytest.mark.parametrize(("place", "row"), ROWS, ids=lambda value: getattr(value, "name", None))
def test_every_row_has_its_measurement_and_the_last_takes_all(place, row):
    assert " -> " in row.evidence
    assert TABLE[place][-1].matches(Content())
    assert TABLE[place][-1].matches(Content(1, 1, 1, 1))


def test_options_reach_the_compiler():
    sum_of = tuned_jit(jnp.sum, {"xla_there_is_no_such_option": True})
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_there_is_no_such_option"):
        sum_of(jnp.ones(3))


def test_tuned_and_plain_compilations_agree(rng):
    x, k = (jnp.asarray(rng.normal(size=s.shape), jnp.float32) for s in (X, KERNEL))
    loss = jax.value_and_grad(lambda x, k: jnp.square(_conv(x, k)).sum(), (0, 1))
    calls = []

    def counted(x, k):
        calls.append(None)
        return loss(x, k)

    tuned = tuned_jit(counted)
    assert_close(tuned(x, k), jax.jit(loss)(x, k))
    tuned(x, k)
    assert len(calls) == 1  # one trace serves the choice and the compilation


def test_the_canary_of_options_would_notice(monkeypatch):
    """It does not apply where no option is set, and is wrong where one makes numbers wrong."""
    monkeypatch.setattr(_programs, "UNDER_OPTIONS", (_programs.ties, _programs.nan))
    monkeypatch.setattr(_programs, "rows_here", list)
    assert _programs.own_options(jax.jit) is None
    monkeypatch.setattr(_programs, "rows_here", lambda: [KNOWN[0]])
    assert _programs.own_options(jax.jit) <= _programs.LIMIT
    dropped = lambda f, compiler_options: lambda *args: np.nan_to_num(f(*args))
    assert _programs.own_options(dropped) == np.inf
