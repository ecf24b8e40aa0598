"""Conv and transposed conv equal torch, values and gradients, on an exhaustive small grid.

The oracle is torch in float64; every configuration is compared in float32 and in float64.
"""

import itertools
import zlib

import jax
import numpy as np
import pytest
from helpers import TOLERANCE, quick_jit

from jaxconv import ops

SIZES = {1: (14,), 2: (8, 11), 3: (6, 5, 7)}
WINDOWS = {
    1: [(1,), (2,), (3,), (4,)],
    2: [(1, 1), (2, 3), (3, 2), (3, 3)],
    3: [(1, 2, 3), (2, 2, 2)],
}
STRIDES = {1: [(1,), (2,), (3,)], 2: [(1, 1), (2, 1), (2, 3)], 3: [(1, 1, 1), (2, 1, 2)]}
DILATIONS = {1: [(1,), (2,)], 2: [(1, 1), (2, 1)], 3: [(1, 1, 1), (1, 2, 1)]}
PADDINGS = {
    1: [(0, "zeros"), (1, "zeros"), ("half", "zeros"), (((2, 0),), "zeros"), (3, "zeros")]
    + [("half", "circular"), (((1, 3),), "reflect"), (((0, 2),), "edge")],
    2: [
        (0, "zeros"),
        ("half", "zeros"),
        (((2, 0), (0, 1)), "zeros"),
        (((1, 2), (0, 3)), "circular"),
    ]
    + [(((1, 0), (2, 3)), "reflect"), (((0, 2), (1, 1)), "edge")],
    3: [(0, "zeros"), (1, "zeros"), (((0, 1), (2, 0), (1, 1)), "circular")],
}
TORCH_MODES = {
    "zeros": "constant",
    "circular": "circular",
    "reflect": "reflect",
    "edge": "replicate",
}
CHUNK = 64


def conv_cases(rank):
    """Every configuration of conv as (window, stride, dilation, groups, padding, mode)."""
    return [
        (window, stride, dilation, groups, *padding)
        for window, stride, dilation, groups, padding in itertools.product(
            WINDOWS[rank], STRIDES[rank], DILATIONS[rank], (1, 2), PADDINGS[rank]
        )
        if padding[1] != "circular" or not any(np.mod(SIZES[rank], stride))
    ]


def transposed_cases(rank):
    """Every configuration of conv_transpose as (window, stride, dilation, groups, padding, extra).

    `extra` is torch's output_padding, below the stride: torch also accepts one below the dilation,
    an output that no convolution maps back to the size of the input.
    """
    cases = itertools.product(
        WINDOWS[rank], STRIDES[rank], DILATIONS[rank], (1, 2), (0, 1, 2)[: 4 - rank], (0, 1, 2)
    )
    return [
        (window, stride, dilation, groups, padding, extra)
        for window, stride, dilation, groups, padding, extra in cases
        if extra < max(stride)
    ]


def chunks(cases):
    """Cuts cases into lists that one compilation takes."""
    return [cases[start : start + CHUNK] for start in range(0, len(cases), CHUNK)]


GRID = [
    (op, rank, part)
    for op, cases in (("conv", conv_cases), ("transposed", transposed_cases))
    for rank in SIZES
    for part in range(len(chunks(cases(rank))))
]


def cases_of(op, rank):
    return conv_cases(rank) if op == "conv" else transposed_cases(rank)


def seed(case):
    return zlib.crc32(repr(case).encode())


def arguments(op, rank, case):
    """The image, kernel and bias of a case, in float64."""
    rng = np.random.default_rng(seed(case))
    window, groups = case[0], case[3]
    kernel = rng.normal(size=(*window, 4 // groups, 6))
    channels, features = (4, 6) if op == "conv" else (6, 4)
    return rng.normal(size=(2, *SIZES[rank], channels)), kernel, rng.normal(size=features)


def ours(op, case):
    """The case as a function of image, kernel and bias."""
    window, stride, dilation, groups, padding, last = case
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    if op == "conv":
        return lambda x, k, b: ops.conv(x, k, b, padding=padding, padding_mode=last, **options)

    def transposed(y, k, b):
        axes = zip(y.shape[1:-1], window, stride, dilation, strict=True)
        shape = tuple(
            (n - 1) * s + d * (w - 1) + 1 - 2 * padding + min(last, s - 1) for n, w, s, d in axes
        )
        return ops.conv_transpose(y, k, b, padding=padding, output_shape=shape, **options)

    return transposed


def torchs(op, case, x, kernel, bias):
    """The same in torch, on tensors in our layout."""
    import torch.nn.functional as F

    window, stride, dilation, groups, padding, last = case
    rank = len(window)
    x = x.movedim(-1, 1)
    kernel = kernel.permute(rank + 1, rank, *range(rank))
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    if op == "transposed":
        extra = tuple(min(last, s - 1) for s in stride)
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
        y = function(x, kernel, bias, padding=padding, output_padding=extra, **options)
        return y.movedim(1, -1)
    if isinstance(padding, tuple):
        pairs = padding
    elif padding == "half":
        half = [(d * (w - 1) + 1) // 2 for d, w in zip(dilation, window, strict=True)]
        pairs = [(p, p) for p in half]
    else:
        pairs = [(padding, padding)] * rank
    reach = [low for low, _ in pairs]
    if last != "zeros" or any(low != high for low, high in pairs):
        x, reach = F.pad(x, [p for pair in pairs[::-1] for p in pair], TORCH_MODES[last]), 0
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    return function(x, kernel, bias, padding=reach, **options).movedim(1, -1)


def expected(op, case, arrays):
    """Torch's output, a cotangent, the gradients, and an output that is wrong."""
    import torch

    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = torchs(op, case, *leaves)
    cotangent = np.random.default_rng(seed(case) + 1).normal(size=tuple(y.shape))
    y.backward(torch.tensor(cotangent))
    gradients = tuple(leaf.grad.numpy() for leaf in leaves)
    x, kernel, bias = (leaf.detach() for leaf in leaves)
    wrong = torchs(op, case, x, kernel.flip(tuple(range(len(case[0])))), bias).numpy()
    if max(case[0]) == 1:  # one tap: no flip to notice, so one pixel off instead
        wrong = np.roll(wrong, 1, axis=1)
    y = y.detach().numpy()
    return (y, *gradients), cotangent, wrong


def compiled(op, cases):
    """One function of the arguments and cotangents of all cases, for one compilation."""

    def everything(arrays, cotangents):
        results = []
        for case, arguments, cotangent in zip(cases, arrays, cotangents, strict=True):
            y, pullback = jax.vjp(ours(op, case), *arguments)
            results.append((y, *pullback(cotangent)))
        return results

    return quick_jit(everything)


def error(actual, wanted):
    assert actual.shape == wanted.shape, f"shape {actual.shape} != {wanted.shape}"
    return np.abs(actual - wanted).max() / np.abs(wanted).max()


def compare(op, cases, arrays, oracle, dtype):
    """Fails with the list of cases that differ; every case must also notice a wrong output."""
    cast = lambda tree: jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
    cotangents = [cotangent for _, cotangent, _ in oracle]
    results = compiled(op, cases)(cast(arrays), cast(cotangents))
    tolerance = TOLERANCE[dtype]
    different, blind = [], []
    for case, result, (wanted, _, wrong) in zip(cases, results, oracle, strict=True):
        assert all(leaf.dtype == dtype for leaf in result)
        errors = [error(np.asarray(a), b) for a, b in zip(result, wanted, strict=True)]
        if not max(errors) <= tolerance:
            different.append((case, errors))
        if not error(np.asarray(result[0]), wrong) > 1e-2:
            blind.append(case)
    assert not different, f"{len(different)} of {len(cases)} differ: {different[:5]}"
    assert not blind, f"{len(blind)} of {len(cases)} would accept a wrong output: {blind[:5]}"


@pytest.mark.peer("torch")
@pytest.mark.parametrize(("op", "rank", "part"), GRID)
def test_equals_torch(op, rank, part):
    import torch

    torch.set_num_threads(1)  # tiny arrays: its other threads would only spin
    cases = chunks(cases_of(op, rank))[part]
    arrays = [arguments(op, rank, case) for case in cases]
    oracle = [expected(op, case, leaves) for case, leaves in zip(cases, arrays, strict=True)]
    compare(op, cases, arrays, oracle, "float32")
    with jax.enable_x64(True):
        compare(op, cases, arrays, oracle, "float64")


def test_the_grid_has_enough_cases():
    distinct = {(op, case) for op, rank, part in GRID for case in chunks(cases_of(op, rank))[part]}
    assert len(distinct) == 1184
