"""Our primitives in the company of the rest of JAX: meshes, any batch size, platforms."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, needs_primitives
from jax import export

from jaxconv import ops


def network(x, depthwise, dense):
    """A depthwise convolution, a pool whose windows overlap, and a strided convolution."""
    y = ops.depthwise_conv(x, depthwise)
    y = ops.max_pool(y, 3, stride=2, padding=1)
    return ops.conv(y, dense, stride=2)


def loss(x, depthwise, dense):
    return (network(x, depthwise, dense) ** 2).sum()


def operands(batch=4):
    rng = np.random.default_rng(0)
    shapes = (batch, 8, 8, 16), (3, 3, 1, 16), (3, 3, 16, 8)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def step(x, depthwise, dense):
    return jax.value_and_grad(loss, (0, 1, 2))(x, depthwise, dense)


def test_exported_once_for_any_batch_size_and_every_platform():
    (n,) = export.symbolic_shape("n")
    x, *kernels = operands(3)
    like = jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype)
    program = export.export(jax.jit(step), platforms=("cpu", "cuda", "tpu"))(like, *kernels)
    assert_close(program.call(x, *kernels), jax.jit(step)(x, *kernels))


def test_mapped_over_nothing():
    x, depthwise, dense = operands()
    gradient = jax.grad(loss, (0, 1, 2))
    for mapped in ((0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0)):
        args = [
            a if axis is None else jnp.zeros((0, *a.shape))
            for a, axis in zip((x, depthwise, dense), mapped, strict=True)
        ]
        y = jax.eval_shape(jax.vmap(network, mapped), *args)
        assert y.shape == (0, 4, 2, 2, 8)
        found = jax.vmap(gradient, mapped)(*args)
        assert [g.shape for g in found] == [(0, *a.shape) for a in (x, depthwise, dense)]


@needs_primitives
def test_one_equation_for_one_operation():
    names = [str(eqn.primitive) for eqn in jax.make_jaxpr(network)(*operands()).jaxpr.eqns]
    ours = [name for name in names if name.startswith("jaxconv_")]
    assert ours == ["jaxconv_conv", "jaxconv_extreme", "jaxconv_conv"], names


def test_a_pool_of_one_pixel_is_a_slice():
    skip = jax.make_jaxpr(lambda x: ops.max_pool(x, 1, stride=2))(jnp.ones((1, 8, 8, 2)))
    assert "jaxconv_" not in str(skip)
    assert "slice" in str(skip)


@needs_primitives
def test_nothing_is_scattered_on_any_platform():
    # XLA for GPUs refuses select-and-scatter when results must be deterministic.
    program = export.export(jax.jit(step), platforms=("cuda",))(*operands())
    text = program.mlir_module()
    assert not re.search(r"stablehlo\.(select_and_)?scatter", text)
    assert "stablehlo.reduce_window" in text  # lax's own forward pass there


# Under explicit meshes lax's own convolution has no gradient: it asks for an output sharding.
@pytest.mark.parametrize(
    "mode",
    [
        "auto",
        pytest.param("explicit", marks=needs_primitives),
        "shard_map",
        pytest.param("fast", marks=needs_primitives),
    ],
)
def test_sharded_is_unsharded(mode):
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, mode], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.split()
        == {
            "auto": ["equal", "0"],  # collectives in the forward pass
            "explicit": [
                "equal",
                "float32[4@b,2,2,8]",
                "float32[4@b,8,8,16]",
                "float32[4,8,8,16@b]",
            ],
            "shard_map": ["equal", "equal"],
            "fast": ["equal", "equal", "2"],  # changes
        }[mode]
    )


SHARDED = """
import sys
sys.path.insert(0, "tests")
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from helpers import assert_close
from test_primitives import loss, network, operands, ops, step

x, depthwise, dense = operands()
expected = jax.jit(step)(x, depthwise, dense)

def check(found, expected=expected):
    assert_close(jax.device_get(found), jax.device_get(expected), 1e-4)  # sums of parts: 3e-6 seen
    print("equal")

mode = sys.argv[1]
kind = AxisType.Explicit if mode == "explicit" else AxisType.Auto
mesh = jax.make_mesh((2,), ("b",), axis_types=(kind,))
if mode == "auto":
    placed = jax.device_put(x, NamedSharding(mesh, P("b")))
    check(jax.jit(step)(placed, depthwise, dense))
    text = jax.jit(network).lower(placed, depthwise, dense).compile().as_text()
    print(sum(text.count(name) for name in ("all-gather", "all-to-all", "collective-permute")))
if mode == "explicit":
    with jax.set_mesh(mesh):
        placed = jax.device_put(x, NamedSharding(mesh, P("b")))
        value, gradients = jax.jit(step)(placed, depthwise, dense)
        check((value, gradients))
        y = jax.jit(network)(placed, depthwise, dense)
        channels = NamedSharding(mesh, P(None, None, None, "b"))
        z = jax.jit(ops.depthwise_conv)(*(jax.device_put(a, channels) for a in (x, depthwise)))
        print(jax.typeof(y), jax.typeof(gradients[0]), jax.typeof(z))
if mode == "shard_map":
    specs = {"mesh": mesh, "in_specs": (P("b"), P(), P())}
    outside = jax.shard_map(network, **specs, out_specs=P("b"))
    summed = lambda *a: (outside(*a) ** 2).sum()
    check(jax.jit(jax.value_and_grad(summed, (0, 1, 2)))(x, depthwise, dense))
    inside = jax.shard_map(
        lambda *a: (lax.psum(loss(*a), "b"), jax.grad(loss, (1, 2))(*a)), **specs, out_specs=P()
    )
    check(jax.jit(inside)(x, depthwise, dense), (expected[0], expected[1][1:]))
if mode == "fast":
    import jaxconv as jc

    def plain(x, kernel, _):  # what other libraries lower to
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=16
        )
        return lax.reduce_window(y, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def gradients(f):
        return jax.jit(jax.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1)))(x, depthwise, dense)

    specs = {"mesh": mesh, "in_specs": (P("b"), P(), P()), "out_specs": P("b")}
    check(gradients(jax.shard_map(jc.fast(plain), **specs)), gradients(plain))
    outside = jc.fast(jax.shard_map(plain, **specs))
    check(gradients(outside), gradients(plain))
    print(len(jc.fast.explain(jax.shard_map(plain, **specs), x, depthwise, dense)))
"""
