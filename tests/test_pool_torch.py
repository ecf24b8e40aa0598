"""Every pool against torch over a grid: values and gradients, float32 and float64, ties included.

One compilation holds one family, rank and dtype: over 500 cases at 60 ms each would not fit else.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import quick_jit

from jaxconv import ops

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
SPATIAL = {1: (11,), 2: (7, 9), 3: (4, 5, 6)}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
torch_peer = pytest.mark.peer("torch")


def grid(rank, *, dilations):
    """(window, stride, dilation, padding), of which each axis of each rank has its own."""
    line = [
        (k, s, d, p)
        for k, s, d in itertools.product((1, 2, 3, 4), (1, 2, 3), dilations)
        for p in range(k // 2 + 1)
        if (k > 1 or (d == 1 and s < 3)) and d * (k - 1) < 9
    ]
    if rank == 1:
        return [tuple((value,) for value in case) for case in line]
    small = [case for case in line if case[0] < 4 and case[2] * (case[0] - 1) < 4]
    rolls = [small[axis * 11 :] + small[: axis * 11] for axis in range(rank)]
    return [tuple(zip(*axes, strict=True)) for axes in zip(*rolls, strict=True)]


MAX_CASES = {rank: grid(rank, dilations=(1, 2)) for rank in (1, 2, 3)}
AVG_CASES = {rank: grid(rank, dilations=(1,)) for rank in (1, 2, 3)}
ADAPTIVE_CASES = {
    1: [(m,) for m in (1, 2, 3, 4, 5, 7, 8, 11, 13)],
    2: [(1, 1), (2, 3), (3, 2), (5, 7), (7, 4), (6, 5), (7, 9)],
    3: [(1, 2, 3), (3, 4, 4), (2, 5, 6)],
}


def images(rank, dtype):
    """Two images of distinct values, and two whose small integers tie in nearly every window."""
    rng = np.random.default_rng(rank)
    shape = (2, *SPATIAL[rank], 2)
    values = rng.permutation(np.prod(shape)).reshape(shape) / 7 - 9
    ties = rng.integers(-1, 2, shape)
    return np.concatenate([values, ties]).astype(dtype)


def cotangent(shape, dtype):
    return np.cos(np.arange(np.prod(shape))).reshape(shape).astype(dtype)


def run(functions, x):
    """[(y, gradient)] of every function at x, from one compilation."""
    shapes = [jax.eval_shape(f, x).shape for f in functions]
    cotangents = [cotangent(shape, x.dtype) for shape in shapes]

    def everything(x, cotangents):
        results = []
        for f, g in zip(functions, cotangents, strict=True):
            y, vjp = jax.vjp(f, x)
            results.append((y, vjp(g)[0]))
        return results

    return quick_jit(everything)(x, cotangents)


def run_torch(functions, x):
    """The same of torch functions, which take and give channels first."""
    import torch

    results = []
    for f in functions:
        image = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
        y = f(image)
        g = cotangent(np.moveaxis(np.empty(y.shape), 1, -1).shape, x.dtype)
        y.backward(torch.tensor(np.moveaxis(g, -1, 1).copy()))
        results.append(tuple(np.moveaxis(t.numpy(), 1, -1) for t in (y.detach(), image.grad)))
    return results


def mismatches(ours, theirs, tolerance):
    """Which cases differ in shape, dtype, or by more than the tolerance of the largest value."""
    bad = []
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for a, b in zip(mine, other, strict=True):
            a = np.asarray(a)
            equal = a.shape == b.shape and a.dtype == b.dtype
            if not equal or np.abs(a - b).max() > tolerance * np.abs(b).max():
                bad.append(number)
    return sorted(set(bad))


def compare(functions, torch_functions, rank, dtype, x=None):
    with jax.enable_x64(dtype == "float64"):
        x = images(rank, dtype) if x is None else x
        ours = jax.tree.map(np.asarray, run(functions, x))
    assert mismatches(ours, run_torch(torch_functions, x), TOLERANCE[dtype]) == []


def max_functions(cases):
    return [
        lambda x, c=case: ops.max_pool(x, c[0], stride=c[1], dilation=c[2], padding=pairs(c[3]))
        for case in cases
    ]


def pairs(amounts):
    return tuple((amount, amount) for amount in amounts)


def torch_max_functions(cases, rank):
    import torch

    pool = getattr(torch.nn.functional, f"max_pool{rank}d")
    return [
        lambda x, c=case: pool(x, c[0], stride=c[1], dilation=c[2], padding=c[3]) for case in cases
    ]


def avg_functions(cases):
    return [
        lambda x, c=case, count=count: ops.avg_pool(
            x, c[0], stride=c[1], padding=pairs(c[3]), count_padding=count
        )
        for case in cases
        for count in (False, True)
    ]


def torch_avg_functions(cases, rank):
    import torch

    pool = getattr(torch.nn.functional, f"avg_pool{rank}d")
    return [
        lambda x, c=case, count=count: pool(
            x, c[0], stride=c[1], padding=c[3], count_include_pad=count
        )
        for case in cases
        for count in (False, True)
    ]


def test_grid_is_as_large_as_promised():
    pools = 2 * sum(map(len, MAX_CASES.values()))  # distinct values and ties
    averages = 2 * sum(map(len, AVG_CASES.values()))  # with and without counted padding
    adaptive = 3 * sum(map(len, ADAPTIVE_CASES.values()))  # average, maximum of values and of ties
    assert pools + averages + adaptive == 327  # each in float32 and in float64
    windows = {axis for case in MAX_CASES[2] for axis in zip(*case, strict=True)}
    assert len(windows) == 20
    assert any(s > k for k, s, _, _ in windows)
    assert any(d == 2 and p for _, _, d, p in windows)


@torch_peer
@DTYPES
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_pool_equals_torch(rank, dtype):
    cases = MAX_CASES[rank]
    compare(max_functions(cases), torch_max_functions(cases, rank), rank, dtype)


@torch_peer
@DTYPES
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_avg_pool_equals_torch(rank, dtype):
    cases = AVG_CASES[rank]
    compare(avg_functions(cases), torch_avg_functions(cases, rank), rank, dtype)


@torch_peer
@DTYPES
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pools_equal_torch(kind, rank, dtype):
    import torch

    sizes = ADAPTIVE_CASES[rank]
    op = getattr(ops, f"adaptive_{kind}_pool")
    theirs = getattr(torch.nn.functional, f"adaptive_{kind}_pool{rank}d")
    functions = [lambda x, m=m: op(x, m) for m in sizes]
    compare(functions, [lambda x, m=m: theirs(x, m) for m in sizes], rank, dtype)


@torch_peer
@pytest.mark.parametrize("p", [1, 2, 3, 2.5])
def test_lp_pool_equals_torch_where_values_are_not_negative(p):
    import torch

    x = np.abs(images(2, "float64")[:2]) + 0.1  # at 0 torch has the slope 1 for p = 1
    cases = [((2, 3), (2, 1)), ((3, 3), (3, 2)), ((1, 4), (1, 1))]
    functions = [lambda x, c=c: ops.lp_pool(x, c[0], p, stride=c[1]) for c in cases]
    pool = torch.nn.functional.lp_pool2d
    theirs = [lambda x, c=c: pool(x, p, c[0], stride=c[1]) for c in cases]
    compare(functions, theirs, 2, "float64", x)


@torch_peer
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_indices_and_unpooling_equal_torch(rank):
    """Round trips through windows that touch but do not overlap, and indices of those that do."""
    import torch

    x = images(rank, "float32")
    pool = getattr(torch.nn.functional, f"max_pool{rank}d")
    back = getattr(torch.nn.functional, f"max_unpool{rank}d")
    cases = MAX_CASES[rank][1::6]

    @quick_jit
    def everything(x):
        return [
            ops.max_pool_with_indices(x, k, stride=s, dilation=d, padding=pairs(p))[1]
            for k, s, d, p in cases
        ]

    image = torch.tensor(np.moveaxis(x, -1, 1).copy())
    for (k, s, d, p), ours in zip(cases, everything(x), strict=True):
        _, theirs = pool(image, k, s, p, d, return_indices=True)
        np.testing.assert_array_equal(ours, np.moveaxis(theirs.numpy(), 1, -1))

    def round_trip(x):
        y, indices = ops.max_pool_with_indices(x, 2)
        return ops.unpool(y * y, indices, x.shape[1:-1])

    def torch_round_trip(x):
        y, indices = pool(x, 2, return_indices=True)
        return back(y * y, indices, 2, output_size=x.shape[2:])

    compare([round_trip], [torch_round_trip], rank, "float32", x)


@torch_peer
def test_nan_gives_nan_in_the_places_of_torch():
    import torch

    x = images(2, "float32")
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    image = torch.tensor(np.moveaxis(x, -1, 1).copy())
    theirs, places = torch.nn.functional.max_pool2d(image, 3, 2, 1, return_indices=True)
    pool = functools.partial(ops.max_pool_with_indices, window=3, stride=2, padding=1)
    y, indices = jax.jit(pool)(x)
    assert 0.2 < np.isnan(y).mean() < 0.9
    np.testing.assert_array_equal(y, np.moveaxis(theirs.numpy(), 1, -1))
    np.testing.assert_array_equal(indices, np.moveaxis(places.numpy(), 1, -1))


@torch_peer
def test_the_comparison_notices_what_it_is_there_for():
    """Split ties, counted padding and disjoint adaptive cells are all told apart."""
    import torch

    cases = [((3, 3), (2, 2), (1, 1), (1, 1))]
    x = images(2, "float32")
    theirs = run_torch(torch_max_functions(cases, 2), x)

    def reduce_window(x):
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pairs((0, 1, 1, 0))
        )

    def split_ties(x):
        pads = jnp.pad(x, pairs((0, 1, 1, 0)), constant_values=-jnp.inf)
        taps = [pads[:, i : i + 7 : 2, j : j + 9 : 2] for i in range(3) for j in range(3)]
        return jnp.max(jnp.stack(taps), axis=0)

    assert mismatches(run([reduce_window], x), theirs, 1e-5) == []
    assert mismatches(run([split_ties], x), theirs, 1e-5) == [0]
    counted = [((3, 3), (2, 2), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1), (0, 0))]
    swapped = [
        f for pair in zip(*[iter(avg_functions(counted))] * 2, strict=True) for f in pair[::-1]
    ]
    assert mismatches(run(swapped, x), run_torch(torch_avg_functions(counted, 2), x), 1e-5) == [
        0,
        1,
    ]
    blocks = lambda x: jnp.stack([x[:, :4].mean(1), x[:, 4:8].mean(1), x[:, 8:].mean(1)], axis=1)
    line = images(1, "float32")
    cell = [lambda x: torch.nn.functional.adaptive_avg_pool1d(x, 3)]
    assert mismatches(run([blocks], line), run_torch(cell, line), 1e-5) == [0]
