"""Models: published sizes, shapes, gradients, padding modes and the hook for downsampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, raises

import jaxconv as jc
from jaxconv.models import convnext, lenet, mobilenet_v2, resnet, unet
from jaxconv.models._blocks import Style, strided_residual
from jaxconv.models.convnext import _block
from jaxconv.models.resnet import _bottleneck

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiles twice as fast what runs once."""

SMALL = {
    "lenet": (lenet(), (2, 14, 14, 1), (2, 10)),
    "resnet": (resnet(20), (2, 8, 8, 3), (2, 10)),
    "mobilenet_v2": (
        mobilenet_v2(10, width=0.1, stem="cifar", drop_probability=0.0),
        (2, 8, 8, 3),
        (2, 10),
    ),
    "convnext": (convnext("atto", 10, patch=1), (2, 8, 8, 3), (2, 10)),
    "unet": (unet(3, (4, 8)), (2, 6, 5, 2), (2, 6, 5, 3)),
}


def _image(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def _shapes(model, x):
    return jax.eval_shape(model.init, jax.random.key(0), x)


def _output(model, x, **mode):
    params, state = _shapes(model, x)
    return jax.eval_shape(functools.partial(model.apply, **mode), params, state, x)[0]


def _count(model, x):
    return sum(leaf.size for leaf in jax.tree.leaves(_shapes(model, x)[0]))


def _subsample(stride):
    """Every stride-th pixel: what a strided layer does after the same layer with stride 1."""
    return jc.max_pool(1, stride=stride)


@pytest.mark.parametrize(
    ("model", "shape", "parameters"),
    [
        (lenet(), (28, 28, 1), 61_706),
        (resnet(20), (32, 32, 3), 269_722),
        (resnet(56), (32, 32, 3), 853_018),
        (resnet(110), (32, 32, 3), 1_727_962),
        (resnet(34), (224, 224, 3), 21_797_672),
        (resnet(101), (224, 224, 3), 44_549_160),
        (mobilenet_v2(), (224, 224, 3), 3_504_872),
        (convnext("tiny"), (224, 224, 3), 28_589_128),
        (convnext("base"), (224, 224, 3), 88_591_464),
        (unet(1), (64, 64, 3), 31_037_633),
    ],
    ids=lambda value: getattr(value, "name", None) or str(value),
)
def test_published_parameter_counts(model, shape, parameters):
    """LeNet-5's; He et al.'s CIFAR nets (option A); torchvision's; U-Net with batch norm."""
    assert _count(model, _image(1, *shape)) == parameters


@pytest.mark.parametrize("name", list(SMALL))
def test_trains(name):
    """One compiled step of every model: shape, finite logits and gradients, new statistics."""
    model, shape, expected = SMALL[name]
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    params, state = model.init(jax.random.key(0), x)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def step(params, state, x):
        def loss(params):
            y, new = model.apply(params, state, x, train=True)
            return jnp.square(y).mean(), (y, new)

        return jax.value_and_grad(loss, has_aux=True)(params)

    (_, (y, new)), gradient = step(params, state, x)
    assert y.shape == expected
    for leaf in jax.tree.leaves((y, new, gradient)):
        assert np.isfinite(np.asarray(leaf)).all()
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    moving = [np.abs(np.asarray(leaf)).max() > 0 for leaf in jax.tree.leaves(gradient)]
    assert np.mean(moving) > 0.9
    if state:
        pairs = zip(jax.tree.leaves(new), jax.tree.leaves(state), strict=True)
        assert all((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)


@pytest.mark.parametrize("name", list(SMALL))
def test_low_precision_odd_sizes_and_no_wasted_names(name):
    model, shape, expected = SMALL[name]
    odd = (shape[0], shape[1] + 9, shape[2] + 4, shape[3])
    y = _output(model, _image(*odd, dtype=jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert y.shape == ((*odd[:-1], 3) if name == "unet" else expected)
    for leaf in jax.tree.leaves(_shapes(model, _image(*odd, dtype=jnp.bfloat16))):
        assert leaf.dtype == jnp.float32


@pytest.mark.parametrize("spatial", [(37,), (33, 34), (17, 16, 18)], ids=["1d", "2d", "3d"])
def test_any_number_of_spatial_axes(spatial):
    x = _image(2, *spatial, 2)
    assert _output(resnet(18, 7), x).shape == (2, 7)
    assert _output(mobilenet_v2(7), x).shape == (2, 7)
    assert _output(convnext("atto", 7, patch=2), x).shape == (2, 7)
    assert _output(unet(7, (2, 4)), x).shape == (2, *spatial, 7)


DOWN = {
    "lenet": lambda down: lenet(down=down),
    "resnet": lambda down: resnet(20, down=down),
    "resnet bottleneck": lambda down: resnet(50, 10, down=down),
    "mobilenet_v2": lambda down: mobilenet_v2(10, down=down),
    "convnext": lambda down: convnext("atto", 10, down=down),
    "unet": lambda down: unet(3, (4, 8, 16), down=down),
}


@pytest.mark.parametrize("name", list(DOWN))
def test_down_keeps_params_and_shapes(name):
    """A network without strides takes the parameters of the one with strides."""
    strided, sampled = DOWN[name](None), DOWN[name](_subsample)
    x = _image(2, 64, 64, 3) if name != "lenet" else _image(2, 28, 28, 1)
    assert _shapes(strided, x) == _shapes(sampled, x)
    params, state = _shapes(strided, x)
    outputs = [jax.eval_shape(m.apply, params, state, x)[0] for m in (strided, sampled)]
    assert outputs[0] == outputs[1]
    strides = []
    DOWN[name](lambda stride: strides.append(stride) or _subsample(stride))
    reduction = {"lenet": 4, "resnet": 4, "unet": 4}.get(name, 32)
    assert np.prod(strides) == reduction


def test_sampling_after_equals_striding_and_circular_nets_commute_with_their_lattice():
    """ResNet-20: subsampling is striding; with circular padding, shifts by 4 change nothing."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 12, 3)), jnp.float32)
    strided = resnet(20, padding_mode="circular")
    sampled = resnet(20, padding_mode="circular", down=_subsample)
    params, state = strided.init(jax.random.key(0), x)
    same, _ = sampled.init(jax.random.key(0), x)
    assert_close(params, same, 0.0)

    @jax.jit
    def logits(x):
        batch = jnp.concatenate([x, jnp.roll(x, (4, -4), (1, 2)), jnp.roll(x, 1, 1)])
        return tuple(model.apply(params, state, batch)[0] for model in (strided, sampled))

    one, other = logits(x)
    assert_close(one, other)
    assert_close(one[0], one[1])
    assert np.abs(one[0] - one[2]).max() > 1e-3 * np.abs(one[0]).max()


def _loudest_phase(x):
    """The half of the pixels with the larger energy, even or odd: a phase chosen by the input."""
    phases = x.reshape(x.shape[0], -1, 2, x.shape[-1])
    best = jnp.argmax(jnp.square(phases).sum((1, 3)), axis=1)
    return jnp.take_along_axis(phases, best[:, None, None, None], axis=2)[:, :, 0]


def test_body_and_shortcut_are_sampled_at_the_same_pixels():
    """A shift of the input only rolls the block's output; with two phases apart it does not."""
    conv = functools.partial(jc.conv, window=3, padding_mode="circular")
    before, after = {"conv_1": conv(4)}, {"conv_2": conv(2)}
    shared = strided_residual(before, after, (None, lambda x: x), {"down": _loudest_phase})
    apart = jc.residual(jc.serial(conv(4), _loudest_phase, conv(2)), _loudest_phase)
    points = np.random.default_rng(0).normal(size=(16, 1, 8, 2)).astype(np.float32)
    moved = {}
    for name, block in (("shared", shared), ("apart", apart)):
        params, state = block.init(jax.random.key(1), points[0])
        f = jax.jit(jax.vmap(lambda x, p=params, s=state, b=block: b.apply(p, s, x)[0]))
        y, shifted = np.asarray(f(points)), np.asarray(f(np.roll(points, 1, axis=2)))
        rolls = [np.abs(np.roll(y, r, axis=2) - shifted).max((1, 2, 3)) for r in range(4)]
        moved[name] = np.min(rolls, axis=0).max()
    assert moved["shared"] < 1e-5
    assert moved["apart"] > 1e-2


def test_strided_residual_keeps_statistics_of_both_halves_and_of_the_sampler():
    before = {"conv_1": jc.conv(4, 3), "norm_1": jc.batch_norm()}
    after = {"conv_2": jc.conv(2, 3), "norm_2": jc.batch_norm()}
    shortcut = jc.serial(conv=jc.conv(2, 1))
    sampler = {"down": jc.serial(jc.batch_norm(), jc.avg_pool(2))}
    block = strided_residual(before, after, (shortcut, shortcut), sampler)
    x = jnp.ones((1, 6, 4, 3))
    params, state = block.init(jax.random.key(0), x)
    assert {name: list(entry) for name, entry in params.items()} == {
        "body": ["conv_1", "norm_1", "conv_2", "norm_2"],
        "shortcut": ["conv"],
        "down": ["batch_norm"],
    }
    y, new = jax.eval_shape(functools.partial(block.apply, train=True), params, state, x)
    assert y.shape == (1, 3, 2, 2)
    assert jax.tree.structure(new) == jax.tree.structure(state)


def test_stems():
    x = _image(1, 32, 32, 3)
    for model, pixels in (
        (resnet(18, 10, stem="cifar"), 4 * 4),
        (resnet(18, 10), 1),
        (resnet(20, stem="imagenet"), 2 * 2),
        (mobilenet_v2(10, stem="cifar"), 4 * 4),
        (mobilenet_v2(10), 1),
    ):
        rows = {row.path: row for row in jc.summary(model, x, depth=1).rows}
        before_pool = list(rows)[list(rows).index("pool") - 1]
        assert np.prod(rows[before_pool].shape[1:-1]) == pixels


def test_channels_first_images_are_named():
    message = (
        "resnet: x looks channels-first, 3 entries on axis 1; expected (N, *spatial, C). "
        "Got x of shape (8, 3, 32, 32). Use jnp.moveaxis(x, 1, -1)."
    )
    with raises(ValueError, message):
        resnet(20).init(jax.random.key(0), _image(8, 3, 32, 32))
    for model in (lenet(), mobilenet_v2(), convnext("atto"), unet(2, (2, 4))):
        with pytest.raises(ValueError, match=f"{model.name}: x looks channels-first"):
            _shapes(model, _image(8, 3, 48, 32))
        _shapes(model, _image(8, 32, 32, 3))


def test_impossible_arguments():
    message = (
        "resnet: the papers have no such depth; expected one of 18, 20, 32, 34, 44, 50, 56, 101, "
        "110, 152. Got depth=19. Use depth=18, say."
    )
    with raises(ValueError, message):
        resnet(19)
    message = (
        'resnet: stem is unknown; expected one of "cifar", "imagenet". '
        "Got stem='mnist'. Use stem='cifar', say."
    )
    with raises(ValueError, message):
        resnet(20, stem="mnist")
    message = (
        'convnext: size is unknown; expected one of "atto", "tiny", "small", "base", "large". '
        "Got size='huge'. Use size='atto', say."
    )
    with raises(ValueError, message):
        convnext("huge")
    message = (
        "unet: has no levels; expected at least one. Got features=(). "
        "Use features=(64, 128, 256), say."
    )
    with raises(ValueError, message):
        unet(2, ())
    with pytest.raises(ValueError, match="mobilenet_v2: stem is unknown"):
        mobilenet_v2(stem="mnist")
    with raises(
        ValueError,
        "resnet: classes is too small; expected at least 1. Got classes=0. Use classes=1 or more.",
    ):
        resnet(20, 0)


HOOKED = {
    "lenet": lenet,
    "resnet": functools.partial(resnet, 20),
    "mobilenet_v2": mobilenet_v2,
    "convnext": convnext,
    "unet": functools.partial(unet, 2),
}


@pytest.mark.parametrize("name", HOOKED)
def test_a_layer_is_no_hook_and_an_unknown_mode_is_named_by_the_model(name):
    make = HOOKED[name]
    with raises(
        TypeError,
        f"{name}: down cannot be called; expected a function stride -> layer, which makes a layer "
        "for each resolution. Got down=Layer 'polyphase_down'. Use down=jc.polyphase_down, "
        "uncalled, or a lambda that calls it.",
    ):
        make(down=jc.polyphase_down(2))
    with raises(
        ValueError,
        f'{name}: padding_mode is unknown; expected one of "zeros", "circular", "reflect", "edge". '
        "Got padding_mode='mirror'. Use padding_mode='zeros', say.",
    ):
        make(padding_mode="mirror")


def test_hooks_of_the_way_up():
    with raises(
        TypeError,
        "unet: up cannot be called; expected a function stride -> layer, which makes a layer for "
        "each resolution. Got up='ideal'. Use up=jc.ideal_up, uncalled, or a lambda that calls it.",
    ):
        unet(2, up="ideal")
    with raises(
        TypeError,
        "unet: around cannot be called; expected a function (body, stride) -> layer, which makes a "
        "layer for each resolution. Got around=Layer 'polyphase_around'. Use "
        "around=jc.polyphase_around, uncalled, or a lambda that calls it.",
    ):
        unet(2, around=jc.polyphase_around(jax.nn.relu))


def _randomized(tree, rng):
    """Every leaf replaced: statistics and scales of ones would hide a norm in the wrong place."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype), tree
    )


@pytest.mark.peer("torch")
def test_bottleneck_equals_torch(rng):
    """Layer order, stride in the 3x3, eps and padding as in torchvision's Bottleneck."""
    import torch
    from torch.nn import functional as F

    block = _bottleneck(4, 2, Style(), project=True)
    x = rng.normal(size=(2, 7, 6, 3)).astype(np.float32)
    params, state = _randomized(block.init(jax.random.key(0), x), rng)

    def conv(path, x, **options):
        kernel = np.asarray(functools.reduce(lambda tree, name: tree[name], path, params)["kernel"])
        return F.conv2d(x, torch.tensor(kernel.transpose(3, 2, 0, 1)), **options)

    def norm(path, x):
        p, s = (functools.reduce(lambda t, name: t[name], path, tree) for tree in (params, state))
        order = (s["mean"], s["variance"], p["scale"], p["bias"])
        return F.batch_norm(x, *(torch.tensor(np.asarray(a)) for a in order))

    image = torch.tensor(x.transpose(0, 3, 1, 2))
    y = norm(("body", "norm_1"), conv(("body", "conv_1"), image)).relu()
    y = norm(("body", "norm_2"), conv(("body", "conv_2"), y, stride=2, padding=1)).relu()
    y = norm(("body", "norm_3"), conv(("body", "conv_3"), y))
    y += norm(("shortcut", "norm"), conv(("shortcut", "conv"), image, stride=2))
    expected = y.numpy().transpose(0, 2, 3, 1)
    assert_close(block.apply(params, state, jnp.asarray(x))[0], jnp.asarray(expected))


@pytest.mark.peer("torch")
def test_convnext_block_equals_torch(rng):
    """Norm over channels with eps 1e-6, exact gelu, layer scale: as in torchvision's CNBlock."""
    import torch
    from torch.nn import functional as F

    block = _block(4, 0.0, Style())
    x = rng.normal(size=(2, 7, 6, 4)).astype(np.float32)
    params = _randomized(block.init(jax.random.key(0), x)[0], rng)
    p = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), params["body"])
    image = torch.tensor(x.transpose(0, 3, 1, 2))
    depthwise = p["depthwise_conv"]
    kernel = depthwise["kernel"].permute(3, 2, 0, 1)
    y = F.conv2d(image, kernel, depthwise["bias"], padding=3, groups=4).permute(0, 2, 3, 1)
    y = F.layer_norm(y, (4,), p["norm"]["scale"], p["norm"]["bias"], eps=1e-6)
    y = F.gelu(y @ p["widen"]["kernel"] + p["widen"]["bias"])
    y = y @ p["narrow"]["kernel"] + p["narrow"]["bias"]
    expected = x + (y * p["layer_scale"]["scale"]).numpy()
    assert_close(block.apply(params, {}, jnp.asarray(x))[0], jnp.asarray(expected))


EXACT = {
    "mobilenet_v2": lambda **how: mobilenet_v2(3, width=0.1, stem="cifar", **how),
    "convnext": lambda **how: convnext("atto", 3, patch=1, **how),
    "unet": lambda **how: unet(2, (3, 4, 5), **how),
}


def _moves_with_x(f, x):
    """The largest error of f under shifts within a stride and some others, relative to f."""
    shifts = [(0, 0), (0, 1), (1, 0), (3, 5), (7, 2), (2, 4)]
    y = np.asarray(f(jnp.stack([jnp.roll(x, shift, (0, 1)) for shift in shifts])))
    spatial = y.ndim == 4
    errors = [
        np.abs(one - (np.roll(y[0], shift, (0, 1)) if spatial else y[0])).max()
        for one, shift in zip(y, shifts, strict=True)
    ]
    return max(errors) / np.abs(y[0] - y[0].mean()).max()


@pytest.mark.parametrize("name", list(EXACT))
def test_polyphase_makes_a_model_exact_and_its_strided_twin_is_not(name):
    how = {"around": jc.polyphase_around} if name == "unet" else {"down": jc.polyphase_down}
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 3)), jnp.float32)
    twin = EXACT[name](padding_mode="circular")
    exact = EXACT[name](padding_mode="circular", **how)
    trees = [model.init(jax.random.key(0), x[None]) for model in (twin, exact)]
    sizes = [sorted(leaf.size for leaf in jax.tree.leaves(tree)) for tree in trees]
    assert sizes[0] == sizes[1]
    strided, mended = (
        jax.jit(lambda x, f=model.apply, t=tree: f(*t, x)[0], compiler_options=QUICK)
        for model, tree in zip((twin, exact), trees, strict=True)
    )
    assert _moves_with_x(mended, x) <= 1e-5
    assert _moves_with_x(strided, x) > 1e-2
