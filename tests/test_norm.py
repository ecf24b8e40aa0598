"""Normalizations against NumPy in float64 and against torch; statistics over named axes."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit, raises

from jaxconv import layers

EPSILON = 1e-5


def normal(rng, *shape, scale=1.0, mean=0.0):
    return jnp.asarray(rng.standard_normal(shape) * scale + mean, jnp.float32)


def standardized(x, axes):
    """The formula of the docstrings, in float64."""
    x = np.asarray(x, np.float64)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON)


def run(layer, x, **mode):
    params, state = layer.init(jax.random.key(0), x)
    return jax.jit(lambda p, s, x: layer.apply(p, s, x, **mode))(params, state, x)


def test_batch_norm_is_the_formula_and_remembers(rng):
    x = normal(rng, 3, 5, 4, 7, scale=3, mean=2)
    layer = layers.batch_norm(average_decay=0.8)
    params, state = layer.init(jax.random.key(0), x)
    assert {name: leaf.tolist() for name, leaf in state.items()} == {
        "mean": [0.0] * 7,
        "variance": [1.0] * 7,
    }
    params = {"scale": normal(rng, 7), "bias": normal(rng, 7)}
    apply = jax.jit(layer.apply, static_argnames="train")
    y, state = apply(params, state, x, train=True)
    expected = standardized(x, (0, 1, 2)) * np.array(params["scale"]) + np.array(params["bias"])
    assert_close(y, expected.astype(np.float32))
    flat = np.asarray(x, np.float64).reshape(-1, 7)
    mean, variance = 0.2 * flat.mean(0), 0.8 + 0.2 * flat.var(0, ddof=1)
    assert_close(state["mean"], mean.astype(np.float32))
    assert_close(state["variance"], variance.astype(np.float32))
    y, after = apply(params, state, x, train=False)
    values = (np.asarray(x, np.float64) - mean) / np.sqrt(variance + EPSILON)
    expected = values * np.array(params["scale"]) + np.array(params["bias"])
    assert_close(y, expected.astype(np.float32))
    assert_close(after, state, 0)


def test_evaluation_is_affine(rng):
    x, z = normal(rng, 2, 3, 4), normal(rng, 2, 3, 4)
    layer, state = layers.batch_norm(), {"mean": normal(rng, 4), "variance": normal(rng, 4) ** 2}
    params = {"scale": normal(rng, 4), "bias": normal(rng, 4)}

    def f(x):
        return layer.apply(params, state, x)[0]

    assert_close(f(0.3 * x + 0.7 * z), 0.3 * f(x) + 0.7 * f(z))
    assert_close(f(x)[:1], f(x[:1]), 0)
    trained = layer.apply(params, state, x, train=True)[0][:1]
    with pytest.raises(AssertionError):  # in training an example sees the batch
        assert_close(trained, layer.apply(params, state, x[:1], train=True)[0])


@pytest.mark.parametrize("channels", [3, 64])
@pytest.mark.parametrize("count", [2, 7, 1025, 32_769, 32_896, 45_003])
def test_statistics_of_many_values(rng, count, channels):
    """Sizes at which reductions of jaxlib 0.10.2 go wrong on CPU, and means far from zero."""
    mean = np.array([0.0, 1e3, -1e4])[np.arange(channels) % 3]
    x = jnp.asarray(rng.standard_normal((count, channels)) + mean, jnp.float32)
    _, state = run(layers.batch_norm(average_decay=0.0), x, train=True)
    exact = np.asarray(x, np.float64)
    error = np.abs(np.asarray(state["mean"]) - exact.mean(0)) / np.abs(exact).max(0)
    assert error.max() <= 2e-7 * np.log2(count)
    error = np.abs(np.asarray(state["variance"]) / exact.var(0, ddof=1) - 1)
    # a mean that is off by 1e-7 of 1e4 moves the variance of 1 by the square of that
    assert error.max() <= 2e-5
    squares = (exact.astype(np.float32) ** 2).mean(0) - exact.astype(np.float32).mean(0) ** 2
    if count > 7:  # control: what the formula with squares makes of the same channels
        assert np.abs(squares / exact.var(0) - 1).max() > 0.1


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_vmapped_statistics_of_every_rank(rng, rank):
    """Every vmap adds an axis, and reductions over one of seven axes crash in jaxlib 0.10.2."""
    x = normal(rng, 2, 3, *(4, 3, 2, 5)[:rank], 8)
    axes = tuple(range(rank + 1))
    layer = layers.batch_norm()
    params, state = layer.init(jax.random.key(0), x[0])
    mapped = jax.vmap(lambda x: layer.apply(params, state, x, train=True)[0])
    expected = np.stack([standardized(part, axes) for part in x])
    assert_close(jax.jit(mapped)(x), expected.astype(np.float32))


def test_statistics_over_a_vmapped_batch_are_those_of_the_whole_batch(rng):
    x = normal(rng, 4, 3, 5, 6, scale=2, mean=1000)
    layer = layers.batch_norm(axis_name="devices")
    params, state = layer.init(jax.random.key(0), x)
    parts = x.reshape(2, 2, 3, 5, 6)

    def split(layer):
        return jax.jit(
            jax.vmap(lambda x: layer.apply(params, state, x, train=True), axis_name="devices")
        )(parts)

    y, new = split(layer)
    whole, expected = run(layers.batch_norm(), x, train=True)
    assert_close(y.reshape(x.shape), whole, 1e-4)
    for part in range(2):
        assert_close(jax.tree.map(lambda leaf, i=part: leaf[i], new), expected)
    alone = split(layers.batch_norm())[0]
    assert np.abs(alone.reshape(x.shape) - whole).max() > 0.01  # control: without the axis name


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxconv import layers

x = jnp.asarray(np.random.default_rng(0).normal(1, 3, (4, 5, 3)), jnp.float32)
plain, named = layers.batch_norm(), layers.batch_norm(axis_name="devices")
params, state = plain.init(jax.random.key(0), x)
mesh = jax.make_mesh((2,), ("devices",), axis_types=(AxisType.Auto,))
split = lambda layer: jax.shard_map(
    lambda x: layer.apply(params, state, x, train=True)[0],
    mesh=mesh, in_specs=P("devices"), out_specs=P("devices"),
)
whole = jax.jit(lambda x: plain.apply(params, state, x, train=True)[0])
sharded = jax.device_put(x, NamedSharding(mesh, P("devices")))
for function in (split(named), whole, split(plain)):
    print(float(abs(jax.jit(function)(sharded) - whole(x)).max()))
"""


def test_statistics_of_a_sharded_batch_are_those_of_the_whole_batch():
    done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mapped, compiled, alone = map(float, done.stdout.split())
    assert max(mapped, compiled) < 1e-5
    assert alone > 0.01  # control: every device has statistics of its own


def test_gradients_flow_through_the_named_axis(rng):
    x, weights = normal(rng, 4, 3, 2), normal(rng, 4, 3, 2)
    named, plain = layers.batch_norm(axis_name=("devices",)), layers.batch_norm()
    params, state = plain.init(jax.random.key(0), x)

    def whole(x):
        return jnp.vdot(plain.apply(params, state, x, train=True)[0], weights)

    def split(x):
        apply = jax.vmap(
            lambda x: named.apply(params, state, x, train=True)[0], axis_name="devices"
        )
        return jnp.vdot(apply(x.reshape(2, 2, 3, 2)).reshape(4, 3, 2), weights)

    assert_close(jax.jit(jax.grad(split))(x), jax.jit(jax.grad(whole))(x))


@pytest.mark.parametrize(("mean", "tolerance"), [(0.0, 1e-6), (1e4, 3e-5)])
def test_gradients_of_batch_norm_are_those_of_the_formula(rng, mean, tolerance):
    """In float64 by central differences; measured in float32: 1e-7, and 8e-6 far from zero."""
    x, weights, direction = (rng.standard_normal((512, 3)) for _ in range(3))
    x, scale = (x + mean).astype(np.float32), np.array([0.5, -2.0, 1.0], np.float32)
    layer = layers.batch_norm()
    params, state = layer.init(jax.random.key(0), x)

    def loss(scale, x):
        y, _ = layer.apply(params | {"scale": scale}, state, x, train=True)
        return jnp.vdot(y, weights.astype(np.float32))

    def exact(scale, x):
        return (standardized(x, 0) * scale * weights).sum()

    ds, dx = jax.jit(jax.grad(loss, (0, 1)))(scale, x)
    steps = (sign * 1e-4 * direction for sign in (1, -1))
    ends = [exact(scale, x.astype(np.float64) + step) for step in steps]
    slope = (ends[0] - ends[1]) / 2e-4
    size = np.linalg.norm(dx) * np.linalg.norm(direction)
    assert abs(np.vdot(dx, direction) - slope) <= tolerance * size
    by_scale = [exact(np.eye(3)[c], x) for c in range(3)]
    np.testing.assert_allclose(ds, by_scale, atol=30 * tolerance * np.abs(by_scale).max())
    _, tangent = jax.jit(
        lambda x: jax.jvp(lambda x: loss(scale, x), (x,), (direction.astype("f"),))
    )(x)
    assert abs(tangent - slope) <= tolerance * size
    fixed = scale / x.std(0) * weights  # control: statistics taken for constants
    assert abs(np.vdot(fixed, direction) - slope) > 1e-3 * size


def test_a_single_value_has_no_variance():
    layer, x = layers.batch_norm(), jnp.ones((1, 1, 1, 8))
    params, state = layer.init(jax.random.key(0), x)
    layer.apply(params, state, x)  # the running statistics do
    with raises(
        ValueError,
        "batch_norm: statistics of 1 value per channel say nothing; expected at least 2 values. "
        "Got x of shape (1, 1, 1, 8). Use a larger batch, or train=False.",
    ):
        layer.apply(params, state, x, train=True)
    over = layers.batch_norm(axis_name="devices")  # two of one are two
    jax.vmap(lambda x: over.apply(params, state, x, train=True), axis_name="devices")(
        jnp.ones((2, 1, 8))
    )


def test_statistics_of_narrow_inputs_are_float32(rng):
    """In bfloat16 a sum of 4096 ones stops at 256, and 300 is 300 only by luck."""
    x = normal(rng, 64, 64, 2, mean=300).astype(jnp.bfloat16)
    y, state = run(layers.batch_norm(average_decay=0.0), x, train=True)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in state.values()} == {jnp.dtype("float32")}
    exact = np.asarray(x, np.float64)
    assert_close(state["mean"], exact.mean((0, 1)).astype(np.float32), 1e-6)
    assert_close(state["variance"], exact.var((0, 1), ddof=1).astype(np.float32))
    for layer, axes in ((layers.instance_norm(), 1), (layers.layer_norm(), 2)):
        assert_close(run(layer, x)[0], jnp.asarray(standardized(x, axes), jnp.bfloat16))


def test_norms_of_one_example_are_the_formula(rng):
    x = normal(rng, 2, 5, 4, 6, scale=3, mean=2)
    params = {"scale": normal(rng, 6), "bias": normal(rng, 6)}
    grouped = standardized(np.asarray(x).reshape(2, 5, 4, 3, 2), (1, 2, 4)).reshape(x.shape)
    formulas = [
        (layers.group_norm(3), grouped),
        (layers.group_norm(1), standardized(x, (1, 2, 3))),
        (layers.instance_norm(), standardized(x, (1, 2))),
        (layers.layer_norm(), standardized(x, 3)),
    ]
    for layer, values in formulas:
        shapes = jax.tree.map(jnp.shape, layer.init(jax.random.key(0), x)[0])
        assert shapes == {"scale": (6,), "bias": (6,)}
        y, _ = layer.apply(params, {}, x, train=True)
        expected = values * np.array(params["scale"]) + np.array(params["bias"])
        assert_close(y, expected.astype(np.float32))


def test_scale_and_bias_are_optional(rng):
    x = normal(rng, 2, 5, 6)
    for make in (layers.batch_norm, layers.layer_norm, layers.instance_norm):
        for scale, bias in ((True, False), (False, True), (False, False)):
            params, _ = make(scale=scale, bias=bias).init(jax.random.key(0), x)
            assert set(params) == {n for n, f in (("scale", scale), ("bias", bias)) if f}
            run(make(scale=scale, bias=bias), x)
    zero = layers.batch_norm(scale_init=jax.nn.initializers.zeros)
    assert not run(zero, x)[0].any()


@pytest.mark.peer("torch")
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_is_torchs(rng, train):
    import torch

    x, weights = rng.standard_normal((4, 5, 3, 7)) + 1, rng.standard_normal((4, 5, 3, 7))
    ours = {"scale": rng.standard_normal(7), "bias": rng.standard_normal(7)}
    theirs = torch.nn.BatchNorm2d(7, momentum=0.3, dtype=torch.float64)
    theirs.train(train)
    theirs.weight.data = torch.tensor(ours["scale"])
    theirs.bias.data = torch.tensor(ours["bias"])
    image = torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    for _ in range(2):
        y = theirs(image)
    (y * torch.tensor(np.moveaxis(weights, -1, 1))).sum().backward()
    with jax.enable_x64(True):
        layer = layers.batch_norm(average_decay=0.7)
        params = jax.tree.map(jnp.asarray, ours)
        x, weights = jnp.asarray(x), jnp.asarray(weights)
        _, state = layer.init(jax.random.key(0), x)
        _, state = layer.apply(params, state, x, train=train)

        @quick_jit
        def gradients(params, x):
            def loss(params, x):
                y, new = layer.apply(params, state, x, train=train)
                return jnp.vdot(y, weights), (y, new)

            return jax.grad(loss, (0, 1), has_aux=True)(params, x)

        (slopes, slope), (values, state) = jax.device_get(gradients(params, x))
    assert_close(values, np.moveaxis(y.detach().numpy(), 1, -1))
    assert_close(slope, np.moveaxis(image.grad.numpy(), 1, -1), 1e-11)
    assert_close(slopes["scale"], theirs.weight.grad.numpy())
    assert_close(slopes["bias"], theirs.bias.grad.numpy())
    assert_close(state["mean"], theirs.running_mean.numpy())
    assert_close(state["variance"], theirs.running_var.numpy())


@pytest.mark.peer("torch")
def test_norms_of_one_example_are_torchs(rng):
    import torch
    from torch.nn import functional

    x = rng.standard_normal((2, 5, 4, 6)).astype(np.float32)
    image = torch.tensor(np.moveaxis(x, -1, 1).copy())
    theirs = [
        (layers.group_norm(3), functional.group_norm(image, 3)),
        (layers.instance_norm(), functional.instance_norm(image)),
    ]
    for layer, expected in theirs:
        assert_close(run(layer, jnp.asarray(x))[0], np.moveaxis(expected.numpy(), 1, -1))
    pixels = functional.layer_norm(torch.tensor(x), (6,)).numpy()
    assert_close(run(layers.layer_norm(), jnp.asarray(x))[0], pixels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.batch_norm(average_decay=1.0),
            "batch_norm: average_decay is no probability below 1; expected "
            "0 <= average_decay < 1. Got average_decay=1.0. Use average_decay=0.1, say.",
        ),
        (
            lambda: layers.layer_norm(epsilon=0.0),
            "layer_norm: epsilon does not keep the variance away from zero; expected a number "
            "above 0. Got epsilon=0.0. Use epsilon=1e-5.",
        ),
        (
            lambda: layers.group_norm(4).init(jax.random.key(0), jnp.ones((2, 5, 6))),
            "group_norm: 6 input channels do not split into groups=4; expected a multiple of 4. "
            "Got x of shape (2, 5, 6). Use groups=3 or groups=6.",
        ),
        (
            lambda: layers.instance_norm().init(jax.random.key(0), jnp.ones((2, 1, 6))),
            "instance_norm: statistics of 1 value per group say nothing; expected at least 2 "
            "values. Got x of shape (2, 1, 6). Use layer_norm, or more pixels.",
        ),
        (
            lambda: layers.layer_norm().init(jax.random.key(0), jnp.ones((2, 5, 1))),
            "layer_norm: statistics of 1 value per pixel say nothing; expected at least 2 "
            "values. Got x of shape (2, 5, 1). Use instance_norm, or more channels.",
        ),
        (
            lambda: run(layers.batch_norm(), jnp.ones((2, 3), jnp.int32)),
            "batch_norm: x holds integers; expected a floating dtype. Got x of dtype int32. "
            "Use x.astype('float32').",
        ),
    ],
)
def test_impossible_norms_are_refused(make, message):
    with raises(TypeError if "integers" in message else ValueError, message):
        make()


def test_norms_name_channels_that_do_not_fit():
    x, wrong = jnp.ones((2, 5, 4, 6)), jnp.ones((2, 6, 5, 4))
    for layer in (layers.batch_norm(), layers.group_norm(2), layers.layer_norm()):
        params, state = layer.init(jax.random.key(0), x)
        with raises(
            ValueError,
            f"{layer.name}: x has 4 channels and the parameters are for 6; expected x of shape "
            "(N, *spatial, 6). Got x of shape (2, 6, 5, 4). "
            "It looks channels-first: use jnp.moveaxis(x, 1, -1).",
        ):
            layer.apply(params, state, wrong)
