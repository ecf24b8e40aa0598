"""Convolutions by the library inside jaxlib: values, and where it is not called."""

import importlib.metadata
import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, needs_primitives
from jax import export, lax

from jaxconv.ops import _convolution
from jaxconv.ops._cpu import choice, library
from jaxconv.ops._cpu.taps import Slide

pytestmark = [
    needs_primitives,
    pytest.mark.skipif(
        importlib.metadata.version("jaxlib") not in library.MEASURED
        or (sys.platform, platform.machine()) != ("linux", "x86_64"),
        reason="this jaxlib is not known to have oneDNN",
    ),
]


@pytest.fixture(autouse=True)
def _switched_on(monkeypatch):
    monkeypatch.setenv("JAXCONV_ONEDNN", "on")
    library.available.cache_clear()
    assert library.available()
    yield
    monkeypatch.undo()
    library.available.cache_clear()


# row: (spatial, window, channels, features, stride, dilation, padding, groups)
CASES = {
    "depthwise": [
        ((8, 7), (3, 2), 5, 5, (1, 1), (1, 1), ((1, 1), (1, 0)), 5),
        ((9, 11), (3, 3), 16, 16, (1, 1), (1, 2), ((5, 4), (-1, 3)), 16),  # excessive, negative
        ((5, 4, 6), (2, 3, 1), 2, 2, (1, 1, 1), (1, 1, 1), ((1, 0), (1, 1), (0, 0)), 2),
    ],
    "depthwise, strided": [
        ((11, 13), (3, 3), 16, 16, (2, 3), (2, 1), ((2, 1), (0, 2)), 16),
    ],
    "grouped": [
        ((7, 8), (3, 3), 8, 12, (1, 2), (1, 1), ((1, 1), (1, 1)), 4),
        ((7, 8), (2, 3), 6, 9, (1, 1), (2, 1), ((0, 2), (1, 1)), 3),
        ((8, 9), (2, 3), 12, 6, (2, 3), (1, 2), ((1, 1), (1, 0)), 2),  # lax aborts on this
        ((9,), (3,), 64, 64, (1,), (1,), ((1, 1),), 16),
    ],
    "pointwise": [
        ((7, 8), (1, 1), 5, 7, (1, 1), (1, 1), ((0, 0), (0, 0)), 1),
        ((7, 8), (1, 1), 5, 7, (2, 3), (1, 1), ((1, 0), (0, -2)), 1),
    ],
    "stem, patches": [
        ((8, 9), (3, 3), 3, 8, (2, 1), (1, 1), ((1, 1), (1, 1)), 1),
        ((11, 8), (4, 3), 3, 6, (4, 3), (1, 1), ((1, 2), (0, 1)), 1),
    ],
    "dense": [
        ((8, 9), (3, 3), 4, 6, (1, 1), (1, 1), ((1, 1), (1, 0)), 1),
        ((9, 8), (4, 4), 4, 5, (2, 2), (1, 1), ((7, 1), (-2, 1)), 1),
        ((12,), (5,), 16, 3, (1,), (2,), ((8, 0),), 1),
        ((6, 5, 7), (3, 2, 3), 4, 5, (2, 1, 2), (1, 2, 1), ((2, 0), (1, 1), (1, 1)), 1),
    ],
}


def by_lax(x, kernel, slide):
    """lax's convolution of an input that was padded, or cropped, before."""
    pads = [(0, 0, 0), *((low, high, 0) for low, high in slide.padding), (0, 0, 0)]
    spatial = "DHW"[-len(slide.stride) :]
    return lax.conv_general_dilated(
        lax.pad(x, np.zeros((), x.dtype), pads), kernel, slide.stride, "VALID",
        rhs_dilation=slide.dilation, feature_group_count=slide.groups,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )  # fmt: skip


def operands(rng, case):
    spatial, window, channels, features, stride, dilation, padding, groups = case
    x = rng.standard_normal((2, *spatial, channels))
    kernel = rng.standard_normal((*window, channels // groups, features))
    return x, kernel, Slide(stride, dilation, padding, groups)


@pytest.mark.parametrize("row", CASES)
def test_values_and_gradients_are_those_of_lax_in_float64(row, rng):
    drawn = [operands(rng, case) for case in CASES[row]]
    slides = [slide for _, _, slide in drawn]

    def passes(f, arrays):
        found = []
        for (x, kernel), slide in zip(arrays, slides, strict=True):
            y, back = jax.vjp(lambda x, k, s=slide: f(x, k, s), x, kernel)
            found.append((y, *back(jnp.ones_like(y).at[0].set(-2))))
        return found

    narrow = [(jnp.float32(x), jnp.float32(k)) for x, k, _ in drawn]
    ours = jax.jit(lambda arrays: passes(_convolution.convolve, arrays))
    assert "__onednn$" in ours.lower(narrow).as_text()
    with jax.enable_x64(True):
        wide = jax.jit(lambda arrays: passes(by_lax, arrays))
        expected = jax.tree.map(np.float32, wide([(x, k) for x, k, _ in drawn]))
    found = ours(narrow)
    assert_close(found, expected)  # errors of 3e-7 at most here
    flipped = [(y, jnp.flip(dx, -1), dk) for y, dx, dk in found]
    with pytest.raises(AssertionError, match="relative error"):
        assert_close(flipped, expected)


def test_every_row_has_cases_and_serves_them():
    assert list(CASES) == [row.name for row in choice.LIBRARY]
    for name, cases in CASES.items():
        for spatial, window, channels, features, stride, dilation, padding, groups in cases:
            slide = Slide(stride, dilation, padding, groups)
            output = slide.output(spatial, window)
            facts = choice.facts(channels, features, window, slide, output, library=True)
            assert choice.called(facts).name == name, facts
            assert choice.called(facts._replace(library=False)) is choice.NO_CALL


@pytest.mark.parametrize("row", choice.LIBRARY, ids=lambda row: row.name)
def test_every_row_says_what_was_measured(row):
    assert " -> " in row.evidence


SAME = Slide((1, 1), (1, 1), ((1, 1), (1, 1)))
X, KERNEL = jnp.ones((2, 5, 6, 16)), jnp.ones((3, 3, 16, 4))


def program(x, kernel, slide=SAME):
    return jax.jit(lambda x, k: _convolution.convolve(x, k, slide)).lower(x, kernel).as_text()


def test_it_is_asked_for_float32_and_for_something_only():
    assert "__onednn$" in program(X, KERNEL)
    for dtype in (jnp.bfloat16, jnp.float16):
        assert "__onednn$" not in program(X.astype(dtype), KERNEL.astype(dtype))
    assert "__onednn$" not in program(X[:0], KERNEL)
    assert "__onednn$" not in program(X, KERNEL[..., :0])
    assert "__onednn$" not in program(X[:, :1], KERNEL, SAME._replace(padding=((0, 1), (1, 1))))


def test_what_leaves_the_process_does_without(tmp_path):
    """A program that is exported or kept in a folder cannot hold the calls; both work as ever."""
    convolve = jax.jit(lambda x, k: _convolution.convolve(x, k, SAME))
    exported = export.export(convolve)(X, KERNEL)
    assert "__onednn$" not in exported.mlir_module()
    assert_close(exported.call(X, KERNEL), convolve(X, KERNEL))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        assert "__onednn$" not in program(X, KERNEL)
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert "__onednn$" in program(X, KERNEL)


MANY = """
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxconv import ops
mesh = jax.make_mesh((2,), ("a",), (jax.sharding.AxisType.Auto,))
x = jax.device_put(jnp.ones((2, 5, 6, 16)), NamedSharding(mesh, PartitionSpec("a")))
f = jax.jit(lambda x, k: ops.conv(x, k))
print("__onednn$" in f.lower(x, jnp.ones((3, 3, 16, 4))).as_text())
print("__onednn$" in f.lower(jnp.ones(x.shape), jnp.ones((3, 3, 16, 4))).as_text())
"""


@pytest.mark.parametrize(
    ("switch", "printed"), [("on", "False\nTrue\n"), ("off", "False\nFalse\n")]
)
def test_neither_on_several_devices_nor_when_switched_off(switch, printed):
    flags = "--xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAXCONV_ONEDNN": switch}
    done = subprocess.run(
        [sys.executable, "-c", MANY], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == printed, done.stderr


def test_of_another_jaxlib_nothing_is_known(monkeypatch):
    monkeypatch.setattr(library.importlib.metadata, "version", lambda name: "99.0")
    library.available.cache_clear()
    assert not library.available()


def test_nobody_gets_it_unasked(monkeypatch):
    monkeypatch.delenv("JAXCONV_ONEDNN")
    library.available.cache_clear()
    assert not library.available()
    assert "__onednn$" not in program(X, KERNEL)


def test_inside_a_loop(rng):
    kernel = jnp.float32(rng.standard_normal((3, 3, 16, 16)) / 12)
    x = jnp.float32(rng.standard_normal((1, 4, 5, 16)))
    turn = lambda x, _: (_convolution.convolve(x, kernel, SAME), None)
    looped = jax.jit(lambda x: lax.scan(turn, x, length=3)[0])
    assert "__onednn$" in looped.lower(x).as_text()
    assert_close(looped(x), turn(turn(turn(x, 0)[0], 0)[0], 0)[0])
