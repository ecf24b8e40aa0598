"""Kits of layers of Flax (linen and nnx), Equinox, Haiku and this library for `zoo`.

`FRAMEWORKS[name](body, x, circular=..., train=...)` returns (f, params): a function of
(params, x) and the shapes of its weights; nothing is allocated.
"""

import jax
import jax.numpy as jnp

import jaxconv as jc


def wrapped(x, window, stride):
    """Circular padding of the last two axes but one, for layers that have none."""
    pads = [same(n, window, stride) for n in x.shape[-3:-1]]
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [*pads, (0, 0)], mode="wrap")


def same(size, window, stride):
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def linen(body, x, *, circular, train):
    from flax import linen as nn

    class Kit:
        def conv(self, x, features, window, stride=1, groups=1):
            padding = "CIRCULAR" if circular else "SAME"
            return nn.Conv(features, (window, window), stride, padding, feature_group_count=groups)(
                x
            )

        def conv_transpose(self, x, features, window, stride):
            padding = "CIRCULAR" if circular else "SAME"
            return nn.ConvTranspose(features, (window, window), (stride, stride), padding)(x)

        def max_pool(self, x, window, stride):
            x, padding = (wrapped(x, window, stride), "VALID") if circular else (x, "SAME")
            return nn.max_pool(x, (window, window), (stride, stride), padding)

        def norm(self, x):
            return nn.BatchNorm(use_running_average=not train)(x)

        def layer_norm(self, x):
            return nn.LayerNorm()(x)

        def dense(self, x, features):
            return nn.Dense(features)(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            kit, count = Kit(), iter(range(10**6))
            kit.weight = lambda shape: self.param(
                f"weight_{next(count)}", nn.initializers.normal(), shape
            )
            return body(kit, x)

    net = Net()
    params = jax.eval_shape(net.init, jax.random.key(0), x)
    return (lambda p, x: net.apply(p, x, mutable=["batch_stats"])[0]), params


def haiku(body, x, *, circular, train):
    import haiku as hk

    class Kit:
        def __init__(self, train):
            self.train = train

        def conv(self, x, features, window, stride=1, groups=1):
            x, padding = (wrapped(x, window, stride), "VALID") if circular else (x, "SAME")
            return hk.Conv2D(features, window, stride, padding=padding, feature_group_count=groups)(
                x
            )

        def conv_transpose(self, x, features, window, stride):
            return hk.Conv2DTranspose(features, window, stride)(x)

        def max_pool(self, x, window, stride):
            x, padding = (wrapped(x, window, stride), "VALID") if circular else (x, "SAME")
            size, steps = (1, window, window, 1), (1, stride, stride, 1)
            return hk.max_pool(x, size, steps, padding)

        def norm(self, x):
            return hk.BatchNorm(True, True, 0.9)(x, is_training=self.train)

        def layer_norm(self, x):
            return hk.LayerNorm(-1, True, True)(x)

        def dense(self, x, features):
            return hk.Linear(features)(x)

        def weight(self, shape):
            self.count = getattr(self, "count", -1) + 1
            return hk.get_parameter(f"weight_{self.count}", shape, init=jnp.zeros)

    first, net = (hk.transform_with_state(lambda x, t=t: body(Kit(t), x)) for t in (True, train))
    trees = jax.eval_shape(first.init, jax.random.key(0), x)
    return (lambda p, x: net.apply(*p, jax.random.key(0), x)[0]), trees


class Tape:
    """Layers made at the first call, in order, and called again in the same order later."""

    def __init__(self, layers=None):
        self.made = [] if layers is None else layers
        self.turn = None if layers is None else iter(layers)

    def layer(self, make):
        if self.turn is not None:
            return next(self.turn)
        self.made.append(make())
        return self.made[-1]


def nnx(body, x, *, circular, train):
    from flax import nnx

    class Kit(Tape):
        rngs = None

        def conv(self, x, features, window, stride=1, groups=1):
            make = lambda: nnx.Conv(
                x.shape[-1],
                features,
                (window, window),
                stride,
                padding="CIRCULAR" if circular else "SAME",
                feature_group_count=groups,
                rngs=self.rngs,
            )
            return self.layer(make)(x)

        def conv_transpose(self, x, features, window, stride):
            padding = "CIRCULAR" if circular else "SAME"
            make = lambda: nnx.ConvTranspose(
                x.shape[-1], features, (window, window), stride, padding=padding, rngs=self.rngs
            )
            return self.layer(make)(x)

        def max_pool(self, x, window, stride):
            x, padding = (wrapped(x, window, stride), "VALID") if circular else (x, "SAME")
            return nnx.max_pool(x, (window, window), (stride, stride), padding)

        def norm(self, x):
            make = lambda: nnx.BatchNorm(x.shape[-1], rngs=self.rngs)
            return self.layer(make)(x, use_running_average=not train)

        def layer_norm(self, x):
            return self.layer(lambda: nnx.LayerNorm(x.shape[-1], rngs=self.rngs))(x)

        def dense(self, x, features):
            return self.layer(lambda: nnx.Linear(x.shape[-1], features, rngs=self.rngs))(x)

        def weight(self, shape):
            return self.layer(lambda: nnx.Param(jnp.zeros(shape)))[...]

    class Net(nnx.Module):
        def __init__(self, x):
            kit = Kit()
            kit.rngs = nnx.Rngs(0)
            body(kit, x)
            self.layers = nnx.List(kit.made)

        def __call__(self, x):
            return body(Kit(self.layers), x)

    graph, state = nnx.split(nnx.eval_shape(lambda: Net(jnp.zeros(x.shape, x.dtype))))
    return (lambda p, x: nnx.merge(graph, p)(x)), state


def equinox(body, x, *, circular, train):
    import equinox as eqx

    key = jax.random.key(0)
    first, last = (lambda x: jnp.moveaxis(x, -1, 0)), (lambda x: jnp.moveaxis(x, 0, -1))

    class Kit(Tape):
        def conv(self, x, features, window, stride=1, groups=1):
            make = lambda: eqx.nn.Conv2d(
                x.shape[-1],
                features,
                window,
                stride,
                padding=tuple(same(n, window, stride) for n in x.shape[:2]),
                groups=groups,
                padding_mode="CIRCULAR" if circular else "ZEROS",
                key=key,
            )
            return last(self.layer(make)(first(x)))

        def conv_transpose(self, x, features, window, stride):
            make = lambda: eqx.nn.ConvTranspose2d(x.shape[-1], features, window, stride, key=key)
            return last(self.layer(make)(first(x)))

        def max_pool(self, x, window, stride):
            pads = () if circular else tuple(same(n, window, stride) for n in x.shape[:2])
            x = wrapped(x, window, stride) if circular else x
            return last(eqx.nn.MaxPool2d(window, stride, pads or 0)(first(x)))

        def norm(self, x):
            make = lambda: eqx.nn.BatchNorm(x.shape[-1], "batch", mode="batch")
            layer = self.layer(make)

            if self.turn is None:
                return x
            y, self.state = layer(first(x), self.state, inference=not train)
            return last(y)

        def layer_norm(self, x):
            layer = self.layer(lambda: eqx.nn.LayerNorm(x.shape[-1]))
            for _ in range(x.ndim - 1):
                layer = jax.vmap(layer)
            return layer(x)

        def dense(self, x, features):
            layer = self.layer(lambda: eqx.nn.Linear(x.shape[-1], features, key=key))
            for _ in range(x.ndim - 1):
                layer = jax.vmap(layer)
            return layer(x)

        def weight(self, shape):
            return self.layer(lambda: jnp.zeros(shape))

    class Net(eqx.Module):
        layers: list

        def __init__(self, shape):
            kit = Kit()
            body(kit, jnp.zeros(shape))
            self.layers = kit.made

        def __call__(self, x, state):
            kit = Kit(self.layers)
            kit.state = state
            return body(kit, x)

    shapes = eqx.filter_eval_shape(eqx.nn.make_with_state(Net), x.shape[1:])
    params, rest = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))

    def f(params, x):
        net, state = eqx.combine(params, rest)
        return jax.vmap(net, axis_name="batch", in_axes=(0, None))(x, state)

    return f, params


def ours(body, x, *, circular, train):
    class Kit(Tape):
        def pair(self, layer, x):
            """The layer and its parameters, drawn at the first call."""
            return layer.apply, self.layer(lambda: layer.init(jax.random.key(0), x))

        def conv(self, x, features, window, stride=1, groups=1):
            mode = "circular" if circular else "zeros"
            layer = jc.conv(features, window, stride=stride, groups=groups, padding_mode=mode)
            apply, tree = self.pair(layer, x)
            return apply(*tree, x)[0]

        def conv_transpose(self, x, features, window, stride):
            mode = "circular" if circular else "zeros"
            layer = jc.conv_transpose(features, window, stride=stride, padding_mode=mode)
            apply, tree = self.pair(layer, x)
            return apply(*tree, x)[0]

        def max_pool(self, x, window, stride):
            mode = "circular" if circular else "zeros"
            return jc.ops.max_pool(x, window, stride=stride, padding="same", padding_mode=mode)

        def norm(self, x):
            apply, tree = self.pair(jc.batch_norm(), x)
            return apply(*tree, x, train=train)[0]

        def layer_norm(self, x):
            apply, tree = self.pair(jc.layer_norm(), x)
            return apply(*tree, x)[0]

        def dense(self, x, features):
            apply, tree = self.pair(jc.dense(features), x)
            return apply(*tree, x)[0]

        def weight(self, shape):
            return self.layer(lambda: jnp.zeros(shape))

    def init(x):
        kit = Kit()
        body(kit, x)
        return kit.made

    return (lambda p, x: body(Kit(p), x)), jax.eval_shape(init, x)


FRAMEWORKS = {"linen": linen, "nnx": nnx, "equinox": equinox, "haiku": haiku, "ours": ours}
