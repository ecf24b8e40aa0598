"""Compositions: names, keys, places in errors, scopes, scan and remat."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, raises

import jaxconv as jc
from jaxconv.equivariance._jaxpr import trace

X = jax.ShapeDtypeStruct((2, 6, 5, 3), jnp.float32)


def _affine(name="affine"):
    """A layer with parameters and state that compiles next to nothing."""

    def init(key, x):
        params = {"scale": jax.random.normal(key, x.shape[-1:], x.dtype)}
        return params, {"calls": jnp.zeros((), x.dtype)}

    def apply(params, state, x, *, train=False, key=None):
        noise = 0.0 if key is None else jax.random.normal(key, (), x.dtype)
        scale = params["scale"].reshape((1,) * (x.ndim - 1) + (-1,))
        return x * scale + noise, {"calls": state["calls"] + 1}

    return jc.Layer(init, apply, name)


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.normal(size=X.shape), jnp.float32)


def _leaves(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def test_serial_applies_in_order(key, x):
    model = jc.serial(_affine(), jax.nn.relu, lambda x: x + 1)
    params, state = model.init(key, X)
    y, state = model.apply(params, state, x)
    scale = np.asarray(params["affine"]["scale"])
    assert_close(y, np.maximum(np.asarray(x) * scale, 0) + 1)
    assert state == {"affine": {"calls": 1}}


def test_names_number_repeats_and_omit_children_without_entries(key):
    model = jc.serial(
        _affine(), jax.nn.relu, _affine(), jax.nn.relu, head=_affine("other"), end=jnp.tanh
    )
    params, state = model.init(key, X)
    assert list(params) == list(state) == ["affine", "affine_1", "head"]


def test_a_name_given_twice_is_refused():
    message = (
        "serial: two layers are called 'affine'; expected one name per layer. "
        "Got affine=dense. Use affine_head=dense, say."
    )
    with raises(ValueError, message):
        jc.serial(_affine(), affine=jc.dense(3))


def test_values_depend_on_path_and_shape_alone(key):
    """A layer more changes nobody else's values; a layer at another path has other values."""
    short, _ = jc.serial(stem=jc.serial(_affine()), head=_affine()).init(key, X)
    long, _ = jc.serial(
        stem=jc.serial(_affine(), jax.nn.relu, more=_affine()), new=_affine(), head=_affine()
    ).init(key, X)
    assert_close(short["head"], long["head"], 0.0)
    assert_close(short["stem"]["affine"], long["stem"]["affine"], 0.0)
    values = [np.asarray(leaf) for leaf in jax.tree.leaves(long)]
    assert all(not np.allclose(a, b) for i, a in enumerate(values) for b in values[:i])


def test_keys_of_apply_differ_by_path_and_leave_out_nobody(key, x):
    model = jc.serial(a=_affine(), b=_affine())
    params, state = model.init(key, X)
    scales = [jnp.zeros(3), jnp.ones(3)]
    params = {name: {"scale": s} for name, s in zip("ab", scales, strict=True)}
    both, _ = model.apply(params, state, x, train=True, key=key)
    first, _ = jc.serial(a=_affine()).apply({"a": params["a"]}, {"a": state["a"]}, x, key=key)
    second = both - first
    assert np.ptp(np.asarray(both)) == 0
    assert abs(float(second.mean())) > 1e-3
    assert abs(float((second - first).mean())) > 1e-3


def test_init_never_traces_the_last_child(key):
    def explode(x):
        raise AssertionError("applied")

    jc.serial(_affine(), explode).init(key, X)
    with pytest.raises(AssertionError, match="applied"):
        jc.serial(explode, _affine()).init(key, X)


def test_init_costs_grow_slowly_with_nesting(key):
    """A layer is traced at most once for every level above it."""
    calls = []

    def count(x):
        calls.append(x.shape)
        return x

    model = jc.serial(count, _affine())
    for _ in range(6):
        model = jc.serial(jnp.tanh, model, _affine())
    model.init(key, X)
    assert len(calls) == 7


def test_errors_say_where_and_keep_their_type(key):
    model = jc.serial(stem=jc.serial(jnp.abs, jc.conv(4, 3), jc.conv(9, 3, groups=3)))
    notes = (
        "in serial, layer 'conv_1', x of shape (2, 6, 5, 4)\n"
        "in serial, layer 'stem', x of shape (2, 6, 5, 3)"
    )
    with pytest.raises(ValueError, match="conv: 4 input channels") as caught:
        model.init(key, X)
    assert "\n".join(caught.value.__notes__) == notes


def test_channels_first_is_named_in_errors(key):
    model = jc.serial(jc.conv(4, 3))
    params, state = model.init(key, jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32))
    for shape, named in (((2, 3, 32, 32), True), ((2, 32, 32, 5), False)):
        with pytest.raises(ValueError, match="conv") as caught:
            model.apply(params, state, jnp.zeros(shape))
        note = f"in serial, layer 'conv', x of shape {shape}"
        hint = "; it looks channels-first, use jnp.moveaxis(x, 1, -1)" if named else ""
        assert caught.value.__notes__ == [note + hint]


def test_params_of_another_model_are_refused(key, x):
    params, state = jc.serial(_affine()).init(key, X)
    message = (
        "serial: 'affine' has parameters or state but is no layer here; expected names among "
        "['other']. Got names ['affine']. Pass what init of this model returned."
    )
    with raises(ValueError, message):
        jc.serial(other=_affine()).apply(params, state, x)


def test_scopes_follow_the_paths_of_params(key, x):
    model = jc.serial(stem=jc.serial(_affine()), block=jc.residual(_affine()))
    params, state = model.init(key, X)
    program = trace(lambda x: model.apply(params, state, x)[0], x)
    scopes = ["/".join(e.scope) for e in program.equations if e.primitive == "mul"]
    assert scopes == ["stem/affine", "block/body"]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jax.nn.relu, "relu"),
        (jnp.tanh, "tanh"),
        (lambda x: x, "lambda"),
        (functools.partial(jax.nn.gelu, approximate=False), "gelu"),
        (type("Scale", (), {"__call__": lambda self, x: x})(), "Scale"),
    ],
)
def test_functions_are_layers(function, name, x):
    layer = jc.as_layer(function)
    assert layer.name == name
    assert jc.as_layer(layer) is layer
    y, state = layer.apply({}, {}, x, train=True, key=jax.random.key(0))
    assert_close(y, function(x))
    assert state == {}


def test_what_is_no_function_is_refused(x):
    message = (
        "as_layer: str cannot be called; expected a Layer or a function x -> y. "
        "Got layer='relu'. Pass jax.nn.relu, say."
    )
    with raises(TypeError, message):
        jc.serial("relu")

    def forgotten(x):
        return jc.flatten()

    message = (
        "forgotten: makes a layer, and is none; expected a Layer or a function x -> y. "
        "Got forgotten itself. Call it: forgotten().\n"
        f"in serial, layer 'forgotten', x of shape {X.shape}"
    )
    with raises(TypeError, message):
        jc.serial(forgotten).apply({}, {}, x)


def test_parallel_combines(x):
    for combine, expected in (
        ("sum", x + 2 * x),
        ("concatenate", jnp.concatenate([x, 2 * x], -1)),
        (jnp.multiply, x * (2 * x)),
    ):
        layer = jc.parallel(lambda x: x, double=lambda x: 2 * x, combine=combine)
        assert_close(layer.apply({}, {}, x)[0], expected)


def test_parallel_keeps_entries_of_all_branches(key, x):
    layer = jc.parallel(_affine(), _affine(), jnp.abs)
    params, state = layer.init(key, X)
    assert list(params) == ["affine", "affine_1"]
    y, state = layer.apply(params, state, x)
    scales = sum(np.asarray(params[name]["scale"]) for name in params)
    assert_close(y, np.asarray(x) * scales + np.abs(np.asarray(x)), 1e-5)
    assert {name: float(entry["calls"]) for name, entry in state.items()} == {
        "affine": 1.0,
        "affine_1": 1.0,
    }


def test_parallel_broadcasts_nothing(x):
    mean = lambda x: x.mean((1, 2), keepdims=True)
    message = (
        f"parallel: 'lambda' returns float32 {X.shape} and 'mean' float32 (2, 1, 1, 3); expected "
        "equal shapes and dtypes. Got mean of shape (2, 1, 1, 3). Give both branches the same "
        "stride, padding and features."
    )
    with raises(ValueError, message):
        jc.parallel(lambda x: x, mean=mean).apply({}, {}, x)
    message = message.replace("equal shapes", "shapes equal up to the channels")
    with raises(ValueError, message):
        jc.parallel(lambda x: x, mean=mean, combine="concatenate").apply({}, {}, x)
    with pytest.raises(ValueError, match="float16"):
        jc.residual(lambda x: x.astype(jnp.float16)).apply({}, {}, x)


def test_parallel_refuses_what_it_cannot_combine():
    message = (
        'parallel: combine is unknown; expected one of "sum", "concatenate". '
        "Got combine='mean'. Use combine='sum', say."
    )
    with raises(ValueError, message):
        jc.parallel(jnp.abs, combine="mean")
    message = (
        "parallel: has no layers; expected at least one. Got layers=(). "
        "Use serial() for the identity."
    )
    with raises(ValueError, message):
        jc.parallel()


def test_residual(key, x):
    layer = jc.residual(_affine(), lambda x: 2 * x)
    params, state = layer.init(key, X)
    assert list(params) == list(state) == ["body"]
    y, _ = layer.apply(params, state, x)
    assert_close(y, np.asarray(x) * (np.asarray(params["body"]["scale"]) + 2), 1e-5)


def test_repeat_equals_the_loop_it_stands_for(key, x):
    one = jc.serial(_affine(), jnp.tanh)
    layer = jc.repeat(3, one)
    params, state = layer.init(key, X)
    assert params["affine"]["scale"].shape == (3, 3)
    for train_key in (None, key):
        y, new = layer.apply(params, state, x, train=True, key=train_key)
        expected = x
        for i in range(3):
            p, s = jax.tree.map(lambda leaf, i=i: leaf[i], (params, state))
            k = None if train_key is None else jax.random.fold_in(train_key, i)
            expected, _ = one.apply(p, s, expected, train=True, key=k)
        assert_close(y, expected, 1e-5)
        assert_close(new, {"affine": {"calls": jnp.ones(3)}})


def test_repeat_draws_copies_apart_and_more_copies_change_no_others(key):
    few, _ = jc.repeat(2, _affine()).init(key, X)
    many, _ = jc.repeat(5, _affine()).init(key, X)
    assert_close(few["scale"], many["scale"][:2], 0.0)
    assert len(np.unique(np.asarray(many["scale"])[:, 0])) == 5


def test_repeat_traces_its_layer_a_fixed_number_of_times(key, x):
    calls = []

    def count(x):
        calls.append(x.shape)
        return x

    for times in (2, 50):
        calls.clear()
        layer = jc.repeat(times, jc.serial(_affine(), count))
        params, state = layer.init(key, X)
        program = trace(lambda x, p=params, s=state, m=layer: m.apply(p, s, x)[0], x)
        assert len(calls) <= 3
        assert [e.primitive for e in program.equations].count("scan") == 1


def test_repeat_refuses_a_layer_that_changes_shape(key):
    message = (
        "repeat: the layer turns float32 (2, 6, 5, 3) into float32 (2, 3, 2, 3); expected the "
        "same shape and dtype. Got y of shape (2, 3, 2, 3). Use serial for layers that change "
        "the shape.\nin repeat, layer 'max_pool', x of shape (2, 6, 5, 3)"
    )
    with raises(ValueError, message):
        jc.repeat(2, jc.max_pool(2)).init(key, X)
    message = "repeat: count is too small; expected at least 1. Got count=0. Use count=1 or more."
    with raises(ValueError, message):
        jc.repeat(0, jnp.abs)


def test_remat_changes_memory_and_nothing_else(key, x):
    inner = jc.serial(_affine(), *[jnp.sin] * 5, name="waves")
    layer = jc.remat(inner)
    assert layer.name == "waves"
    params, state = layer.init(key, X)
    assert_close(params, inner.init(key, X)[0], 0.0)

    def loss(model, params):
        return model.apply(params, state, x, train=True, key=key)[0].sum()

    values = [jax.value_and_grad(loss, argnums=1)(model, params) for model in (layer, inner)]
    assert_close(*values, 1e-5)
    kept = [
        sum(a.nbytes for a in jax.tree.leaves(jax.vjp(functools.partial(loss, model), params)[1]))
        for model in (layer, inner)
    ]
    assert kept[0] < kept[1]


def test_compositions_work_under_jit_vmap_and_eval_shape(key, x):
    model = jc.serial(_affine(), jc.repeat(2, jc.residual(_affine())), jnp.tanh)
    params, state = jax.jit(model.init)(key, x)
    assert_close(params, model.init(key, X)[0], 1e-6)
    shapes = jax.eval_shape(model.init, key, X)[0]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, shapes)
    y, new = jax.jit(model.apply, static_argnames="train")(params, state, x, train=True)
    assert_close(y, model.apply(params, state, x)[0], 1e-5)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    slices = jax.vmap(lambda row: model.apply(params, state, row[None])[0][0])(x)
    assert_close(slices, y, 1e-5)


def test_apply_leaves_its_arguments_alone(key, x):
    model = jc.serial(_affine(), _affine())
    params, state = model.init(key, X)
    before = _leaves((params, state))
    model.apply(params, state, x)
    after = _leaves((params, state))
    assert all(before[path] is after[path] for path in before | after)
