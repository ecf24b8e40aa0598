"""The summary table: published counts, nothing allocated, loops counted as often as they run."""

import jax
import jax.numpy as jnp
import pytest
from helpers import raises

import jaxconv as jc
from jaxconv.models import mobilenet_v2, resnet, unet


def _image(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _row(summary, path):
    (row,) = [row for row in summary.rows if row.path == path]
    return row


def _sizes(row):
    return [(field.size, field.stride, field.padding) for field in row.receptive_field]


def test_counts_three_billion_parameters_without_allocating():
    before = sum(array.nbytes for array in jax.live_arrays())
    model = jc.serial(jc.flatten(), jc.dense(1000))
    summary = jc.summary(model, _image(1, 1000, 1000, 3))
    assert summary.parameters == 3_000_001_000
    assert summary.multiply_adds == 3_000_000_000
    assert _row(summary, "dense").shape == (1, 1000)
    assert sum(array.nbytes for array in jax.live_arrays()) - before < 1000


@pytest.mark.parametrize(
    ("model", "size", "parameters", "multiply_adds"),
    [
        (resnet(18), 224, 11_689_512, 1_814_073_344),
        (resnet(50), 224, 25_557_032, 4_089_184_256),
        (mobilenet_v2(), 224, 3_504_872, 300_774_272),
    ],
    ids=["resnet18", "resnet50", "mobilenet_v2"],
)
def test_published_costs(model, size, parameters, multiply_adds):
    """torchvision's parameter counts and fvcore's multiply-adds of the same networks."""
    summary = jc.summary(model, _image(1, size, size, 3))
    assert (summary.parameters, summary.multiply_adds) == (parameters, multiply_adds)
    assert sum(row.parameters for row in summary.rows) == parameters


def test_costs_grow_with_the_batch():
    model = jc.serial(jc.conv(4, 3), jc.global_avg_pool(), jc.dense(2))
    one, three = (jc.summary(model, _image(n, 8, 6, 2)) for n in (1, 3))
    assert one.multiply_adds == 8 * 6 * 9 * 2 * 4 + 4 * 2
    assert three.multiply_adds == 3 * one.multiply_adds
    assert three.activation_bytes == 3 * one.activation_bytes
    assert three.parameters == one.parameters


def test_rows_hold_what_the_layers_do():
    model = jc.serial(
        stem=jc.serial(jc.conv(4, 3, stride=2, padding="half"), jc.batch_norm(), jax.nn.relu),
        drop=jc.dropout(0.5),
        block=jc.residual(jc.depthwise_conv(3)),
        up=jc.conv_transpose(2, 2, stride=2),
    )
    summary = jc.summary(model, _image(2, 8, 12, 3))
    paths = [row.path for row in summary.rows]
    stem = [f"stem/{name}" for name in ("conv", "batch_norm", "relu")]
    assert paths == [*stem, "drop", "block/body", "block", "up"]
    assert [row.shape for row in summary.rows] == [(2, 4, 6, 4)] * 6 + [(2, 8, 12, 2)]
    assert [row.parameters for row in summary.rows] == [112, 8, 0, 0, 40, 0, 34]
    conv, body, up = (_row(summary, p) for p in ("stem/conv", "block/body", "up"))
    assert conv.multiply_adds == 2 * 24 * 4 * 27
    assert body.multiply_adds == 2 * 24 * 4 * 9
    assert up.multiply_adds == 2 * 24 * 4 * 2 * 4  # the zeros in between are not counted
    assert conv.activation_bytes == 2 * 24 * 4 * 4
    assert _sizes(conv) == [(3, 2, 1)] * 2
    assert _sizes(body) == _sizes(_row(summary, "block")) == [(7, 2, 3)] * 2
    assert _row(summary, "drop").receptive_field == ()
    assert summary.state == 8


def test_repeat_counts_every_copy():
    x = _image(1, 16, 16, 4)
    once = jc.summary(jc.conv(4, 3), x)
    summary = jc.summary(jc.repeat(5, jc.serial(jc.conv(4, 3), jax.nn.relu)), x)
    assert [row.path for row in summary.rows] == ["conv", "relu"]
    assert summary.parameters == 5 * once.parameters
    assert summary.multiply_adds == 5 * once.multiply_adds
    assert summary.rows[0].activation_bytes == 5 * once.rows[0].activation_bytes
    assert _sizes(summary.rows[0]) == [(11, 1, 5)] * 2


def test_layers_that_are_no_composition_have_their_own_name():
    x = _image(1, 9, 4)
    assert [row.path for row in jc.summary(jc.conv(2, 3), x).rows] == ["conv"]
    assert [row.path for row in jc.summary(jnp.tanh, x).rows] == ["tanh"]
    local = jc.summary(jc.local_conv(2, 3), x)
    assert (local.parameters, local.multiply_adds) == (9 * (3 * 4 + 1) * 2, 9 * 3 * 4 * 2)


def test_remat_and_jit_hide_nothing():
    model = jc.serial(jc.remat(jc.serial(jc.conv(4, 3), jnp.tanh, name="inner")), jc.conv(2, 1))
    jitted = model._replace(apply=jax.jit(model.apply, static_argnames="train"))
    plain, inside = (jc.summary(m, _image(1, 8, 4)) for m in (model, jitted))
    assert [row.path for row in plain.rows] == ["inner/conv", "inner/tanh", "conv"]
    assert plain == inside


def test_depth_sums_what_lies_deeper():
    model, x = resnet(20), _image(1, 32, 32, 3)
    full, coarse = jc.summary(model, x), jc.summary(model, x, depth=1)
    assert [row.path for row in coarse.rows] == [
        *("stem", "stage_1", "stage_2", "stage_3"),
        *("pool", "head"),
    ]
    assert coarse.parameters == full.parameters == sum(row.parameters for row in coarse.rows)
    assert coarse.multiply_adds == full.multiply_adds
    assert coarse.rows[1].shape == (1, 32, 32, 16)
    assert _sizes(coarse.rows[1]) == _sizes(_row(full, "stage_1/relu_2"))
    message = "summary: depth is too small; expected at least 1. Got depth=0. Use depth=1 or more."
    with raises(ValueError, message):
        jc.summary(model, x, depth=0)


def test_table():
    model = jc.serial(jc.conv(2, 3), jc.batch_norm(), jnp.tanh, jc.global_avg_pool())
    expected = """\
layer            output     parameters  multiply-adds  activations  field  stride
---------------  ---------  ----------  -------------  -----------  -----  ------
conv             8 × 7 × 2          20          1,008        448 B  3      1
batch_norm       8 × 7 × 2           4              0        448 B  3      1
tanh             8 × 7 × 2           0              0        448 B  3      1
global_avg_pool  8 × 2               0              0         64 B  7      0
---------------  ---------  ----------  -------------  -----------  -----  ------
serial           8 × 7 × 3          24          1,008      1.4 KiB"""
    assert str(jc.summary(model, _image(8, 7, 3))) == expected


def test_unknown_receptive_fields_are_marked():
    model = jc.serial(jc.conv(2, 3), largest=lambda x: jax.lax.top_k(x, 2)[0])
    lines = str(jc.summary(model, _image(1, 8, 3))).splitlines()
    assert lines[3].split()[-2:] == ["?", "0"]


def test_levels_of_a_unet_return_to_the_size_of_the_input():
    summary = jc.summary(unet(2, (2, 4)), _image(1, 9, 7, 1))
    assert summary.rows[-1].shape == (1, 9, 7, 2)
    assert _row(summary, "level_1/inside").shape == (1, 9, 7, 4)


def test_a_batch_too_small_to_train_on_is_summarized_all_the_same():
    model = jc.serial(jc.global_avg_pool(), jc.dense(3), jc.batch_norm(), jc.dropout(0.5))
    rows = [row.path for row in jc.summary(model, _image(1, 4, 4, 2)).rows]
    assert rows == ["global_avg_pool", "dense", "batch_norm"]
