"""Models of other libraries, as they are: what breaks them is found on their authors' lines."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import needs_primitives
from jax import lax

import jaxconv as jc
from jaxconv import equivariance as eq
from jaxconv.ops import _convolution
from jaxconv.ops._cpu.taps import Slide

X = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))


def line(function, text):
    """The line of this file on which a text stands in the source of a function."""
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, row in enumerate(lines) if text in row)


def linen(padding):
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(4, (3, 3), padding=padding)(x))
            return nn.Dense(5)(x.mean((1, 2)))

    net = Net()
    variables = net.init(jax.random.key(1), X)
    return lambda x: net.apply(variables, x)


def nnx(padding):
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, keys):
            self.conv = nnx.Conv(3, 4, (3, 3), padding=padding, rngs=keys)
            self.head = nnx.Linear(4, 5, rngs=keys)

        def __call__(self, x):
            x = nnx.relu(self.conv(x))
            return self.head(x.mean((1, 2)))

    return Net(nnx.Rngs(0))


def equinox(padding):
    import equinox

    mode = "CIRCULAR" if padding == "CIRCULAR" else "ZEROS"
    first = equinox.nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode, key=jax.random.key(1))
    head = equinox.nn.Linear(4, 5, key=jax.random.key(2))

    def one(x):
        y = jax.nn.relu(first(jnp.moveaxis(x, -1, 0)))
        return head(y.mean((1, 2)))

    return jax.vmap(one)


def haiku(padding):
    import haiku

    def net(x):
        if padding == "CIRCULAR":
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
        x = jax.nn.relu(
            haiku.Conv2D(4, 3, padding="VALID" if padding == "CIRCULAR" else padding)(x)
        )
        return haiku.Linear(5)(x.mean((1, 2)))

    both = haiku.without_apply_rng(haiku.transform(net))
    params = both.init(jax.random.key(1), X)
    return lambda x: both.apply(params, x)


PEERS = {
    "flax linen": (linen, "nn.Conv("),
    "flax nnx": (nnx, "self.conv(x)"),
    "equinox": (equinox, "first(jnp.moveaxis"),
    "haiku": (haiku, "haiku.Conv2D("),
}


@pytest.mark.peer("flax", "equinox", "haiku")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PEERS)
def test_models_of_other_libraries(name):
    build, text = PEERS[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = eq.audit(jax.jit(build("SAME")), X, lie=False)
        sound = eq.audit(build("CIRCULAR"), X, lie=False)
    assert not found.obeys
    assert found.guilty[0].path.endswith("conv_general_dilated"), str(found)
    assert found.guilty[0].file == __file__
    assert found.guilty[0].line == line(build, text), str(found)
    assert sound.obeys, str(sound)
    assert not sound.guilty


@pytest.mark.peer("torch")
def test_torch_weights():
    import torch

    layer = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    kernel = jnp.asarray(layer.weight.detach().numpy().transpose(2, 3, 1, 0))
    for mode, sound in (("circular", True), ("zeros", False)):
        f = lambda x, m=mode: jc.ops.conv(x, kernel, padding_mode=m)
        assert eq.audit(f, X, lie=False).obeys is sound


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_own_models_on_any_number_of_axes(axes):
    x = jax.random.normal(jax.random.key(0), (1, *(6, 4, 8)[:axes], 2))
    for mode, sound in (("circular", True), ("zeros", False)):
        model = jc.serial(first=jc.conv(4, 3, padding_mode=mode), pool=jc.global_avg_pool())
        model = jc.serial(body=model, head=jax.nn.softmax)
        params, state = model.init(jax.random.key(1), x)
        found = eq.audit(lambda x, m=model, p=params, s=state: jax.jit(m.apply)(p, s, x)[0], x)
        # an average of a zero-padded convolution of one layer varies with what the border hides
        assert found.obeys is sound, str(found)
        if not sound:
            assert [o.path.split("/")[:2] for o in found.guilty] == [["body", "first"]]


@needs_primitives
def test_primitives_of_this_library():
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))
    zeros = Slide((1, 1), (1, 1), ((1, 1), (1, 1)), 1)

    def f(x):
        return jax.nn.relu(_convolution.convolve(x, kernel, zeros))

    names = [str(e.primitive) for e in jax.make_jaxpr(f)(X).eqns]
    assert any(name.startswith("jaxconv_") for name in names), names
    found = eq.audit(f, X)
    assert [o.line for o in found.guilty] == [line(f, "convolve(")]
    assert found.operations[0].field == (3, 3)
    assert not np.isnan(found.lie)
    fields = eq.receptive_field(f, jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32))
    assert [field.size for field in fields] == [3, 3]
    plain = lambda x: lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    other = eq.audit(lambda x: jax.nn.relu(plain(x)), X)
    np.testing.assert_allclose(found.outputs[0].eps_2, other.outputs[0].eps_2, rtol=1e-4)
