"""The changes that make a function exact: made, they do; with one of them left out, they do not."""

import functools

import jax
import jax.numpy as jnp

import jaxconv as jc
from jaxconv.equivariance import prove, suggest

X = jax.ShapeDtypeStruct((1, 16, 16, 2), jnp.float32)
SMALL = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)


def program(model, x=X):
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    return lambda w, x: model.apply(*w, x)[0], (params, state)


def suggested(model, x=X):
    f, weights = program(model, x)
    return suggest(f, x, params=weights)


def shifts_of(model, x=X):
    """What is proved of it, per axis."""
    f, weights = program(model, x)
    return [(law.kind, law.shift) for law in prove(f, x, params=weights).outputs[0].laws]


def net(*, first="zeros", last="zeros", adaptive=False):
    """A stride between two convolutions with borders; the mean over pixels."""
    return jc.serial(
        first=jc.conv(3, 3, padding_mode=first),
        relu=jax.nn.relu,
        down=jc.polyphase_down(2) if adaptive else jc.max_pool(1, stride=2),
        last=jc.conv(3, 3, padding_mode=last),
        gelu=jax.nn.gelu,
        pool=jc.global_avg_pool(),
    )


def test_what_is_suggested_is_enough_and_nothing_of_it_can_be_left_out():
    """The network with all changes made is proved exact; with one of them left out, it is not."""
    found = suggested(net())
    assert [change.repair for change in found.changes] == ["circular", "adaptive"]
    named = [[name.split()[0] for name in change.operations] for change in found.changes]
    assert named == [["first", "last"], ["down"]]
    assert (found.exact, found.shifts, found.remaining) == (True, 256, ())
    borders = {True: "circular", False: "zeros"}
    for left_out in (None, *range(3)):
        made = [number != left_out for number in range(3)]
        mended = net(first=borders[made[0]], last=borders[made[1]], adaptive=made[2])
        assert (shifts_of(mended) == [("invariant", 1)] * 2) == (left_out is None)


def test_strides_after_strides_are_mended_together():
    """A ResNet-20: 19 borders, and two choices, each for a body and its shortcut."""
    model = jc.models.resnet(20)
    found = suggested(model)
    assert [len(change.operations) for change in found.changes] == [19, 2, 2]
    assert found.exact
    assert [fix.shifts for fix in found.proof.fixes if fix.repair == "circular"] == [16]


def two_levels(*, position=False):
    """Down, down, up, up, each level beside a bridge; on the way up pixels are repeated."""

    def level(deeper):
        up = lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
        return jc.residual(jc.serial(down=jc.max_pool(2, stride=2), deeper=deeper, up=up))

    x = jnp.arange(4.0, dtype=jnp.float32).reshape(1, 2, 2, 1)
    deepest = (lambda y: y + x) if position else jnp.tanh
    return level(level(deepest))


def test_an_encoder_and_its_decoder_share_a_choice():
    """Named together, level by level; made, all shifts hold; without the way back, they do not."""
    make = functools.partial(jc.models.unet, 2, padding_mode="circular")
    found = suggested(make((2, 4, 4)), SMALL)
    assert [change.repair for change in found.changes] == ["around", "around"]
    named = [[name.split()[0] for name in change.operations] for change in found.changes]
    inside = ("level_1/inside/deeper/", "level_1/inside/deeper/level_2/inside/deeper/")
    assert named == [[place + "pool", place + "up"] for place in inside]
    assert (found.exact, found.shifts, found.remaining) == (True, 64, ())
    assert "and back onto the pixels that were sampled (polyphase_around):" in str(found)
    assert shifts_of(make((2, 4), around=jc.polyphase_around), SMALL) == [("equivariant", 1)] * 2
    alone = lambda body, stride: jc.serial(jc.polyphase_down(stride), body, jc.ideal_up(stride))
    assert ("equivariant", 1) not in shifts_of(
        make((2, 4), around=alone), SMALL
    )  # nothing puts it back


def test_any_way_up_is_put_back_but_nothing_mends_a_position_between():
    found = suggested(two_levels(), SMALL)
    assert [change.repair for change in found.changes] == ["around", "around"]
    assert found.exact
    stuck = suggested(two_levels(position=True), SMALL)
    assert not stuck.exact
    assert any("position-dependent" in name for name in stuck.remaining)


def test_strides_that_leave_two_pixels_are_suggested():
    """There a half of the image is one line, which by itself obeys no shift."""
    x = jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32)
    pool = lambda x: jc.max_pool(1, stride=2).apply({}, {}, x)[0]
    found = suggest(lambda x: jnp.exp(pool(x)).mean((1, 2)), x)
    assert [change.repair for change in found.changes] == ["adaptive"]
    assert found.exact
    assert {limit.after for limit in found.proof.outputs[0].limits} == {2}


def test_what_is_there_already_is_not_suggested():
    half = suggested(net(first="circular", last="zeros"))
    assert [name.split()[0] for name in half.changes[0].operations] == ["last"]
    one = jc.serial(jc.polyphase_down(2), jc.conv(2, 3), jnp.tanh, jc.global_avg_pool())
    (change,) = suggested(one).changes
    assert change.repair == "circular"


def test_a_body_and_its_shortcut_are_one_change():
    inner = jc.conv(2, 3, stride=2, padding="half", padding_mode="circular")
    block = jc.residual(inner, jc.max_pool(1, stride=2))
    (change,) = suggested(jc.serial(block, jnp.tanh, jc.global_avg_pool())).changes
    assert [name.split()[0] for name in change.operations] == [
        "residual/body",
        "residual/shortcut",
    ]


def test_padding_of_channels_is_no_border():
    widen = lambda x: jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 3)))
    found = suggested(jc.serial(widen, jc.conv(2, 3), jnp.tanh, jc.global_avg_pool()))
    (change,) = found.changes
    assert [name.split()[0] for name in change.operations] == ["conv"]


def test_what_no_change_mends_is_named():
    text = str(suggested(jc.serial(conv=jc.conv(2, 3), flat=jc.flatten(), head=jc.dense(3))))
    first, *rest = [line.split(" at ")[0].strip() for line in text.splitlines()]
    assert first == "No change of borders or strides helps: output: no shift law is proved."
    assert rest == [
        "What they do not mend (make_shift_invariant wraps it whole):",
        "zero padding of conv",
        "position-dependent weights of head",
    ]
    nothing = jc.serial(jc.conv(2, 3, padding_mode="circular"), jc.global_avg_pool())
    assert str(suggested(nothing)) == (
        "Nothing to change: output is invariant to all circular shifts (256 of 256 shifts)."
    )
