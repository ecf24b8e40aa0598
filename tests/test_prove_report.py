"""What a proof shows beside its laws: repairs, receptive fields, the table, pictures, the page."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv as jc
from jaxconv.equivariance import audit, audit_page, plot_proof, prove, receptive_field
from jaxconv.equivariance.prove import _fixes
from jaxconv.equivariance.prove._sheet import sheet

X = jax.ShapeDtypeStruct((1, 16, 12, 3), jnp.float32)


def net(*, stem="zeros", body="circular", stride=2, after=2):
    model = jc.serial(
        stem=jc.conv(4, 3, padding_mode=stem),
        shrink=jc.conv(4, 3, stride=stride, padding_mode=body),
        again=jc.conv(4, 3, stride=after, padding_mode="circular"),
        mean=jc.global_avg_pool(),
    )
    weights = jax.eval_shape(model.init, jax.random.key(0), X)
    return prove(lambda w, x: model.apply(*w, x)[0], X, params=weights)


def test_a_circular_repair_buys_what_the_circular_network_has():
    proof = net()
    (fix,) = [fix for fix in proof.fixes if fix.repair == "circular"]
    assert fix.operations[0].startswith("stem at test_prove_report.py:")
    assert fix.laws == (net(stem="circular").outputs[0].laws,)
    assert (fix.shifts, fix.gain) == (12, 12.0)


def test_all_borders_are_one_repair_where_no_single_one_helps():
    fixes = [fix for fix in net(body="reflect").fixes if fix.repair == "circular"]
    assert [len(fix.operations) for fix in fixes] == []  # reflections are no padding of a window
    zeros = [fix for fix in net(body="zeros").fixes if fix.repair == "circular"]
    assert [len(fix.operations) for fix in zeros] == [2]


def test_an_adaptive_repair_of_the_last_stride_buys_it_and_of_the_first_nothing():
    proof = net(stem="circular")
    assert proof.outputs[0].laws[0].shift == 4
    adaptive, blurred = proof.fixes
    assert (adaptive.repair, blurred.repair) == ("adaptive", "blurred")
    assert [name.split(" ")[0] for name in adaptive.operations] == ["again"]
    assert [law.shift for law in adaptive.laws[0]] == [2, 2]
    assert (adaptive.idealized, adaptive.gain) == ("off ties", 4.0)
    assert "fractions of a pixel" in blurred.idealized


def sampled(x):
    """Every second row and column, from the phase of largest norm."""
    phases = jnp.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    return phases[jnp.argmax(jnp.sum(phases**2, (1, 2, 3, 4)))]


def test_an_adaptive_repair_is_what_adaptive_sampling_gives():
    plain = prove(lambda x: jnp.tanh(x)[:, ::2, ::2].mean((1, 2)), X)
    mended = prove(lambda x: sampled(jnp.tanh(x)).mean((1, 2)), X)
    assert plain.fixes[0].laws == (mended.outputs[0].laws,)


@pytest.mark.parametrize("stem", ["circular", "zeros"])
def test_repairs_that_all_of_x_passes_need_no_run_of_their_own(monkeypatch, stem):
    short = net(stem=stem).fixes
    assert any(fix.repair == "adaptive" for fix in short)
    monkeypatch.setattr(_fixes, "_all_through", lambda program, repair: False)
    assert net(stem=stem).fixes == short


def test_a_way_around_a_repair_is_seen():
    def around(x):
        sampled = jnp.sin(x[:, ::2, ::2])
        return (sampled + jnp.cos(x)[:, ::2, ::2]).mean((1, 2))

    proof = prove(around, X)
    stride = next(row for row in proof.rows if row.shape == (1, 8, 6, 3))
    through = lambda rows: _fixes._all_through(proof.program, _fixes._repair(rows))
    assert not through([stride])
    assert through(proof.rows)


def test_no_single_border_is_tried_where_two_others_are_each_enough(monkeypatch):
    runs = []
    monkeypatch.setattr(
        _fixes, "laws_with", lambda *a, was=_fixes.laws_with: runs.append(a) or was(*a)
    )
    model = jc.serial(*[jc.conv(2, 3) for _ in range(5)], jc.global_avg_pool())
    weights = jax.eval_shape(model.init, jax.random.key(0), X)
    fixes = prove(lambda w, x: model.apply(*w, x)[0], X, params=weights).fixes
    assert [len(fix.operations) for fix in fixes] == [5]
    assert len(runs) == 2


def test_strides_of_two_branches_are_mended_together():
    def block(x):
        return (jnp.tanh(x[:, ::2, ::2]) + jnp.sin(x)[:, ::2, ::2]).mean((1, 2))

    fix = prove(block, X).fixes[0]
    assert len(fix.operations) in (1, 2)  # one line may be one call
    assert [law.shift for law in fix.laws[0]] == [1, 1]


def test_repairs_of_a_sound_function_are_none():
    assert prove(jnp.tanh, X).fixes == ()
    assert "repairs" not in str(prove(jnp.tanh, X))


def test_fields_are_those_of_the_static_walk():
    f = lambda x: jc.ops.max_pool(jc.ops.conv(x, jnp.ones((5, 3, 3, 1)), stride=2), 2)
    assert prove(f, X).outputs[0].fields == receptive_field(f, X)


def gradient_field(f, n, place):
    """First and last input pixel with a gradient, by value."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, n, 1)), jnp.float32)
    seen = np.flatnonzero(np.asarray(jax.grad(lambda x: f(x)[0, place, 0])(x))[0, :, 0])
    return int(seen.min()), int(seen.max())


KERNEL = np.random.default_rng(1).normal(size=(3, 1, 1)).astype(np.float32)
FIELDS = {
    "dilated": lambda x: jc.ops.conv(x, KERNEL, dilation=3, stride=2),
    "transposed": lambda x: jc.ops.conv_transpose(x, KERNEL, stride=2),
    "phase-periodic": lambda x: jc.ops.conv(jc.ops.conv_transpose(x, KERNEL, stride=3), KERNEL),
    "two strides": lambda x: jc.ops.conv(jc.ops.conv(x, KERNEL, stride=2), KERNEL, stride=3),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_hold_every_pixel_with_a_gradient_and_are_tight(name):
    f, n = FIELDS[name], 36
    (output,) = prove(f, jax.ShapeDtypeStruct((1, n, 1), jnp.float32), (1,)).outputs
    (field,) = output.fields
    sizes = []
    middle = output.shape[1] // 2
    for place in range(middle - 2, min(middle + 3, output.shape[1] - 1)):
        first, last = gradient_field(f, n, place)
        start = field.stride * place - field.padding
        assert start <= first
        assert last <= start + field.size - 1 + (field.stride % 1 > 0)
        sizes.append(last - first + 1)
    assert max(sizes) == field.size


def test_a_call_of_the_library_is_one_row():
    rows = prove(lambda x: jax.nn.relu(jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))), X).rows
    assert len([row for row in rows if "pad" in row.operation]) <= 1
    assert len(net().rows) == 4


def test_a_longer_proof_says_how_many_repairs_are_left_to_try(monkeypatch):
    from jaxconv.equivariance.prove import _proof

    monkeypatch.setattr(_proof, "MOST_WORK", 10)
    assert " would tell; see .fixes." in str(net())


def test_the_picture_has_a_bar_for_every_call():
    left, right = plot_proof(net()).axes
    assert len(left.patches) == len(right.patches) == 4
    assert [bar.get_width() for bar in left.patches] == [1, 2, 4, 4]
    assert left.get_yticklabels()[0].get_text().startswith("stem at")


def test_the_page_of_an_audit_holds_the_proof(tmp_path):
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))

    def f(x):
        with jax.named_scope("<b>net</b>"):
            return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")

    proof = prove(f, x)
    audit_page(audit(f, x), tmp_path / "with.html", proof=proof)
    audit_page(audit(f, x), tmp_path / "without.html")
    page = (tmp_path / "with.html").read_text()
    assert "<b>net" not in page, "names are data, not markup"
    held = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["proof"]
    assert held == sheet(proof)
    assert held["theorem"] == proof.theorem.splitlines()
    titles = [table["title"] for table in held["tables"]]
    assert titles == [
        "Laws",
        "What strides and positions cost",
        "What borders cost",
        "What single repairs would buy",
        "Operations",
    ]
    assert all(len(row) == len(t["head"]) for t in held["tables"] for row in t["rows"])
    assert '"proof": null' in (tmp_path / "without.html").read_text()
