"""The networks in PyTorch, channels last in memory, and their training steps timed.

A process of its own: reads {"networks": [names], "small": …, "ways": ["eager", "compiled"],
"repeats": …, "seconds": …, "device": …} from standard input; writes
{name: {"parameters": …, way: seconds, way + " failed": reason}}.
"""

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import _architectures as arch
from benchmarks._torch_ops import on_best_threads


def main() -> None:
    request = json.load(sys.stdin)
    networks = arch.SMALL if request["small"] else arch.NETWORKS
    results = {}
    for name in request["networks"]:
        results[name] = race(networks[name], request)
    json.dump(results, sys.stdout)


def race(network: arch.Network, request: dict) -> dict:
    """Medians of a training step, eager and compiled, each of a fresh model."""
    device, found = request["device"], {}
    for way in request["ways"]:
        torch.manual_seed(0)
        model = Net(network.layers, network.x[1:]).to(device, memory_format=torch.channels_last)
        found["parameters"] = sum(p.numel() for p in model.parameters())
        try:
            run = torch.compile(model) if way == "compiled" else model
            step = train_step(network, model, run, device)
            found |= on_best_threads({way: step}, request["repeats"], request["seconds"])
        except Exception as error:  # whatever stops the compiler is the result
            found[f"{way} failed"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return found


def train_step(network, model, run, device):
    rng = np.random.default_rng(0)
    images = rng.standard_normal(network.x, np.float32)
    x = torch.from_numpy(np.moveaxis(images, -1, 1)).to(device)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(rng.integers(0, network.classes, network.labels)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(run(x), labels)
        loss.backward()
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()
        return loss

    return step


class Net(nn.Module):
    """Runs layers in order."""

    def __init__(self, layers, shape):
        super().__init__()
        made = [_make(layer, inner) for layer, inner in arch.with_shapes(layers, shape)]
        self.layers = nn.ModuleList(made)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Call(nn.Module):
    """A function without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class OnPixels(nn.Module):
    """A layer on the last axis, of images whose channels come first: a view, no copy."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        if x.ndim == 2:
            return self.layer(x)
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Scaled(nn.Module):
    """One learned number per channel."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x):
        return x * self.scale


class Added(nn.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class Bridged(nn.Module):
    """x beside inner(x)."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.cat([x, self.inner(x)], 1)


FUNCTIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "mean": lambda x: x.mean((2, 3)),
    "flatten": lambda x: x.flatten(1),
}


def _skip(x, stride, features):
    x = x[:, :, ::stride, ::stride]
    return F.pad(x, (0, 0, 0, 0, 0, features - x.shape[1]))


def _make(layer, shape):
    channels = shape[-1]
    match layer:
        case arch.Conv(features, window, stride):
            groups = layer.split(channels)
            options = {"groups": groups, "bias": layer.bias}
            return nn.Conv2d(channels, features, window, stride, layer.padding, **options)
        case arch.Up(features):
            return nn.ConvTranspose2d(channels, features, 2, 2)
        case arch.BatchNorm():
            return nn.BatchNorm2d(channels)
        case arch.LayerNorm():
            return OnPixels(nn.LayerNorm(channels))
        case arch.MaxPool(window, stride, pad):
            return nn.MaxPool2d(window, stride, pad)
        case arch.Do(function):
            return Call(FUNCTIONS[function])
        case arch.Dense(features):
            return OnPixels(nn.Linear(channels, features))
        case arch.Scale():
            return Scaled(channels)
        case arch.Skip(stride, features):
            return Call(lambda x: _skip(x, stride, features))
        case arch.Residual(body, shortcut):
            return Added(Net(body, shape), Net(shortcut, shape))
        case arch.Bridge(inner):
            return Bridged(Net(inner, shape))
    raise NotImplementedError(f"torch: {layer}")


if __name__ == "__main__":
    main()
