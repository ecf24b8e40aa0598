"""Times operations in PyTorch eager, in a process of its own.

PyTorch's threads spin for some milliseconds after every operation and steal a core from whoever
runs next, so it is never interleaved with JAX. Reads {"cases": …, "repeats": …, "seconds": …} from
standard input, writes {name: {pass: seconds}}.
"""

import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks._timing import medians

LAST = {3: torch.contiguous_format, 4: torch.channels_last, 5: torch.channels_last_3d}


def main() -> None:
    request = json.load(sys.stdin)
    device = request.get("device", "cpu")
    results = {}
    for case in request["cases"]:
        runs = passes(case, device)
        results[case["name"]] = on_best_threads(runs, request["repeats"], request["seconds"])
    json.dump(results, sys.stdout)


def on_best_threads(runs: dict, repeats: int, seconds: float) -> dict[str, float]:
    """Medians on all cores or on one, whichever is less.

    When anything else runs, PyTorch's threads wait for each other through whole time slices of the
    scheduler (16 ms where 0.2 are needed), so that one thread is then the faster setting.
    """
    best: dict[str, float] = {}
    for threads in (os.cpu_count() or 1, 1):
        torch.set_num_threads(threads)
        for name, found in medians(runs, repeats, seconds).items():
            best[name] = min(found, best.get(name, found))
    return best


def passes(case: dict, device: str = "cpu") -> dict:
    """The passes of a case as functions of nothing."""
    rng = np.random.default_rng(0)
    mapped = case["kind"] == "vmap_conv"
    shapes = [case[name][mapped:] for name in ("x", "output")]
    shapes = [(case["x"][0] * n, *rest) if mapped else (n, *rest) for n, *rest in shapes]
    x, g = (_images(rng, shape, device) for shape in shapes)
    runs = _pool(case, x, g) if "pool" in case["kind"] else _convolution(case, rng, x, g, device)
    return {name: _blocking(run, device) for name, run in runs.items()}


def _blocking(run, device):
    if device == "cpu":
        return run

    def wait():
        run()
        torch.cuda.synchronize()

    return wait


def _images(rng, shape, device):
    """Random images (N, *spatial, C) as a channels-last tensor (N, C, *spatial)."""
    values = rng.standard_normal(shape, np.float32)
    tensor = torch.from_numpy(np.moveaxis(values, -1, 1).copy()).to(device)
    return tensor.to(memory_format=LAST[tensor.ndim])


def _pool(case, x, g):
    (window, _), stride, ((pad, _), _) = case["window"], case["stride"], case["padding"]
    tracked = x.clone(memory_format=torch.preserve_format).requires_grad_()
    if case["kind"] == "avg_pool":
        run = lambda x: F.avg_pool2d(x, window, stride, pad, count_include_pad=False)
        y = run(tracked)
        gradient = lambda: torch.autograd.grad(y, tracked, g, retain_graph=True)
    else:
        run = lambda x: F.max_pool2d(x, window, stride, pad)
        gradient = lambda: torch.autograd.grad(run(tracked), tracked, g)
    return {"forward": lambda: run(x), "input gradient": gradient}


def _convolution(case, rng, x, g, device):
    rank = len(case["window"])
    kernel = rng.standard_normal(case["kernel"], np.float32)
    groups, transposed = case["groups"], case["kind"] == "conv_transpose"
    if case["kind"] == "vmap_conv":  # the idiom: one group per example
        groups = case["x"][0]
        x, g = (t.reshape(1, -1, *t.shape[2:]) for t in (x, g))
        x, g = (t.contiguous(memory_format=torch.channels_last) for t in (x, g))
        kernel = np.concatenate(list(kernel), axis=-1)
    weight = torch.from_numpy(np.moveaxis(kernel, (-1, -2), (0, 1)).copy()).to(device)
    weight = weight.to(memory_format=LAST[weight.ndim])
    stride, dilation = (case["stride"],) * rank, (case["dilation"],) * rank
    even = all(low == high for low, high in case["padding"])
    padding = tuple(low if even else 0 for low, _ in case["padding"])
    uneven = [] if even else [n for pair in reversed(case["padding"]) for n in pair]
    wide = F.pad(x, uneven) if uneven else x
    common = (stride, padding, dilation, transposed, (0,) * rank, groups)

    def forward():
        return torch.ops.aten.convolution(F.pad(x, uneven) if uneven else x, weight, None, *common)

    def gradient(*mask):
        def run():
            return torch.ops.aten.convolution_backward(g, wide, weight, None, *common, mask)

        return run

    return {
        "forward": forward,
        "input gradient": gradient(True, False, False),
        "kernel gradient": gradient(False, True, False),
    }


if __name__ == "__main__":
    main()
