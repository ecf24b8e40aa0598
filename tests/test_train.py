"""Training: steps by value, evaluation to the last image, failures that leave what they need."""

import functools
import hashlib
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, raises

from jaxconv import Layer, compiler_options, train
from jaxconv.compose import serial
from jaxconv.layers import batch_norm, conv, dense, dropout
from jaxconv.train import data, metrics, precision, run_folder

CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels


class Images(NamedTuple):
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def images(count=24, tests=10, classes=3, seed=0):
    """Bytes (count, 4, 5, 1) whose brightest quarter tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count + tests) % classes
    pixels = rng.integers(0, 120, (count + tests, 4, 5, 1))
    pixels[np.arange(count + tests), labels] += 120
    pixels, labels = pixels.astype(np.uint8), labels.astype(np.int32)
    return Images(pixels[:count], labels[:count], pixels[count:], labels[count:])


def mean_rows(x):
    return x.mean((2, 3))


def linear(classes=3):
    """Logits from the four row means: small enough to write its gradient down by hand."""

    def init(key, x):
        return {"kernel": 0.1 * jax.random.normal(key, (x.shape[1], classes))}, {}

    def apply(params, state, x, *, train=False, key=None):
        return mean_rows(x) @ params["kernel"].astype(x.dtype), state

    return Layer(init, apply, "linear")


def network():
    return serial(
        conv(4, 3), batch_norm(), jax.nn.relu, dropout(0.3), lambda x: x.mean((1, 2)), dense(3)
    )


@functools.cache
def network_step(rate=0.5):
    """One function for all tests, so that it is compiled once."""
    optimizer = optax.sgd(rate, momentum=0.9)
    return train.make_train_step(network(), CROSS_ENTROPY, optimizer), optimizer


def network_run(*, seed=0, start=None, **options):
    step, optimizer = network_step()
    if start is None:
        key = jax.random.key(seed)
        start = train.init_train_state(network(), optimizer, key, images().train_images)
    return run(seed=seed, start=start, step=step, **options)


def digest(tree):
    """One hash of every bit of a tree, names included."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(tree)):
        total.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return total.hexdigest()


def run(
    model=None, *, epochs=2, seed=0, dataset=None, optimizer=None, start=None, step=None, **options
):
    """A tiny run, silent unless told otherwise."""
    dataset = images() if dataset is None else dataset
    model = linear() if model is None else model
    optimizer = optax.sgd(0.5, momentum=0.9) if optimizer is None else optimizer
    if step is None:
        step = train.make_train_step(model, CROSS_ENTROPY, optimizer)
    if start is None:
        key = jax.random.key(seed)
        start = train.init_train_state(model, optimizer, key, dataset.train_images)
    options = {"progress": False, "report": lambda line: None, "batch_size": 8} | options
    return train.fit(start, step, dataset, epochs=epochs, seed=seed, **options)


# --- one step ---------------------------------------------------------------------------------


def test_a_step_is_gradient_descent_on_the_mean_loss():
    d = images()
    optimizer = optax.sgd(0.25)
    step = train.make_train_step(linear(), CROSS_ENTROPY, optimizer)
    now = train.init_train_state(linear(), optimizer, jax.random.key(3), d.train_images)
    new, scores = jax.jit(step)(now, (d.train_images, d.train_labels), jax.random.key(0))

    x = (d.train_images.astype(np.float64) / 255).mean((2, 3))
    kernel = np.asarray(now.params["kernel"], np.float64)
    exponentials = np.exp(x @ kernel)
    p = exponentials / exponentials.sum(1, keepdims=True)
    truth = np.eye(3)[d.train_labels]
    gradient = x.T @ (p - truth) / len(x)
    expected = (kernel - 0.25 * gradient).astype(np.float32)
    assert_close(new.params, {"kernel": jnp.asarray(expected)})
    assert math.isclose(scores["loss"], -np.log((p * truth).sum(1)).mean(), rel_tol=1e-5)
    assert math.isclose(scores["gradient_norm"], np.sqrt((gradient**2).sum()), rel_tol=1e-5)
    assert int(scores["correct"]) == int((p.argmax(1) == d.train_labels).sum())
    assert (int(scores["count"]), int(new.step), bool(scores["finite"])) == (24, 1, True)


def test_a_step_changes_none_of_its_arguments_and_keeps_dtypes():
    d = images()
    optimizer = optax.adamw(train.warmup_cosine(0.1, 9), mask=train.decays)
    step = train.make_train_step(linear(), CROSS_ENTROPY, optimizer)
    now = train.init_train_state(linear(), optimizer, jax.random.key(0), d.train_images)
    now = now._replace(step=now.step + 3)  # the first rate of a warmup is zero
    before = digest(now)
    new, _ = jax.jit(step)(now, (d.train_images, d.train_labels), jax.random.key(0))
    assert digest(now) == before
    assert digest(new) != before
    kinds = [jax.tree.map(lambda leaf: leaf.dtype, tree) for tree in (now, new)]
    assert kinds[0] == kinds[1]


def test_bfloat16_reaches_the_model_and_nothing_else():
    seen = []

    def apply(params, state, x, *, train=False, key=None):
        seen.append((x.dtype, train))
        y, state = linear().apply(params, state, x)
        return y, state

    watched = Layer(linear().init, apply, "watched")
    d = images()
    batch, key = (d.train_images, d.train_labels), jax.random.key(0)
    results = {}
    for name in precision.PRECISIONS:
        step = train.make_train_step(watched, CROSS_ENTROPY, optax.sgd(0.5), precision=name)
        now = train.init_train_state(watched, optax.sgd(0.5), jax.random.key(1), d.train_images)
        assert now.params["kernel"].dtype == jnp.float32
        results[name] = jax.jit(step)(now, batch, key)
        evaluation = train.make_eval_step(watched, CROSS_ENTROPY, precision=name)
        sums = jax.jit(evaluation)(now.params, now.state, batch, np.ones(24, bool))
        assert sums["loss"].dtype == results[name][1]["loss"].dtype == jnp.float32
        assert results[name][0].params["kernel"].dtype == jnp.float32
    assert seen == [
        (dtype, mode) for dtype in (jnp.float32, jnp.bfloat16) for mode in (True, False)
    ]
    full, half = (np.asarray(results[name][0].params["kernel"]) for name in precision.PRECISIONS)
    assert 0 < np.abs(full - half).max() < 2e-2 * np.abs(full).max()


def test_prepare_and_augment_run_before_the_model_with_the_samples_own_numbers():
    d = images()
    seen = {}

    def augment(key, batch):
        seen.update(indices=batch.indices, epoch=batch.epoch, dtype=batch.images.dtype)
        return batch._replace(images=2 * batch.images)

    def prepare(x):
        return precision.to_float32(x) - 1.0

    optimizer = optax.sgd(0.5)
    now = train.init_train_state(linear(), optimizer, jax.random.key(0), d.train_images)
    make = functools.partial(train.make_train_step, linear(), CROSS_ENTROPY, optimizer)
    changed = 2 * (d.train_images.astype(np.float32) / 255 - 1)
    batch = train.Batch(d.train_images, d.train_labels, np.arange(24)[::-1], np.int32(5))
    new, _ = make(prepare=prepare, augment=augment)(now, batch, jax.random.key(0))
    same, _ = make()(now, (changed, d.train_labels), jax.random.key(0))
    assert_close(new, same)
    assert seen["indices"].tolist() == list(range(23, -1, -1))
    assert (int(seen["epoch"]), seen["dtype"]) == (5, jnp.float32)
    make(augment=augment)(now, (d.train_images, d.train_labels), jax.random.key(0))
    assert seen["indices"].tolist() == list(range(24))
    assert int(seen["epoch"]) == 0


def test_dropout_draws_anew_at_every_step_and_the_same_when_a_step_is_repeated():
    d = images()
    function, optimizer = network_step()
    step = jax.jit(function)
    now = train.init_train_state(network(), optimizer, jax.random.key(0), d.train_images)
    batch = (d.train_images, d.train_labels)
    new, first = step(now, batch, jax.random.key(0))
    _, again = step(now, batch, jax.random.key(0))
    _, second = step(now._replace(step=new.step), batch, jax.random.key(0))
    _, other = step(now, batch, jax.random.key(1))
    assert float(first["loss"]) == float(again["loss"])
    assert len({float(scores["loss"]) for scores in (first, second, other)}) == 3


def test_a_step_that_is_not_finite_changes_nothing():
    d = images()
    optimizer = optax.adam(0.1)
    step = jax.jit(train.make_train_step(linear(), CROSS_ENTROPY, optimizer))
    now = train.init_train_state(linear(), optimizer, jax.random.key(0), d.train_images)
    pixels = d.train_images.astype(np.float32) / 255
    for bad in (np.nan, np.inf):
        broken = pixels.copy()
        broken[17, 3, 4, 0] = bad
        new, scores = step(now, (broken, d.train_labels), jax.random.key(0))
        assert not scores["finite"]
        assert digest(new) == digest(now)
    new, scores = step(now, (pixels, d.train_labels), jax.random.key(0))
    assert scores["finite"]
    assert digest(new) != digest(now)


def test_all_finite_sees_every_place():
    shape = (2, 3, 8)  # a maximum over eight channels drops a NaN on CPU in jaxlib 0.10.2
    check = jax.jit(precision.all_finite)
    assert check({"a": jnp.ones(shape), "n": jnp.arange(3)})
    for bad in (np.nan, np.inf, -np.inf):
        for place in np.ndindex(shape):
            array = np.ones(shape, np.float32)
            array[place] = bad
            assert not check({"a": jnp.asarray(array), "n": jnp.arange(3)}), (bad, place)


# --- evaluation -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 64])
def test_evaluation_counts_every_image_once(batch_size):
    d = images()
    now = train.init_train_state(linear(), optax.sgd(0.1), jax.random.key(3), d.test_images)
    predict = jax.jit(train.make_predict(linear()))
    x = (d.test_images.astype(np.float64) / 255).mean((2, 3))
    logits = x @ np.asarray(now.params["kernel"], np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(10), d.test_labels]
    hits = int((logits.argmax(1) == d.test_labels).sum())

    step = jax.jit(train.make_eval_step(linear(), CROSS_ENTROPY))
    pair = (d.test_images, d.test_labels)
    scores = train.evaluate(step, now, *pair, batch_size=batch_size)
    assert (scores["correct"], scores["count"], scores["accuracy"]) == (hits, 10, hits / 10)
    assert math.isclose(scores["loss"], losses.mean(), rel_tol=1e-6)
    assert step._cache_size() == 1
    rows = train.predict_all(predict, now, d.test_images, batch_size=batch_size)
    assert_close(rows, logits.astype(np.float32))


def test_what_the_mask_drops_does_not_count_whatever_it_holds():
    d = images()
    now = train.init_train_state(linear(), optax.sgd(0.1), jax.random.key(3), d.test_images)
    step = jax.jit(train.make_eval_step(linear(), CROSS_ENTROPY))
    pixels = d.test_images.astype(np.float32) / 255
    pixels[4] = np.nan
    keep = np.arange(10) != 4
    sums = step(now.params, now.state, (pixels, d.test_labels), keep)
    without = step(now.params, now.state, (pixels[keep], d.test_labels[keep]), np.ones(9, bool))
    assert_close(sums, without)
    counted = step(now.params, now.state, (pixels, d.test_labels), np.ones(10, bool))
    assert np.isnan(counted["loss"])
    assert int(counted["count"]) == 10


def test_evaluation_of_pixels_counts_pixels():
    def init(key, x):
        return {}, {}

    def apply(params, state, x, *, train=False, key=None):
        return jnp.concatenate([x, 1.0 - x], axis=-1), state

    d = images()
    labels = (d.test_images[..., 0] < 128).astype(np.int32)
    step = jax.jit(train.make_eval_step(Layer(init, apply, "bright"), CROSS_ENTROPY))
    now = train.TrainState({}, {}, {}, jnp.zeros((), jnp.int32))
    scores = train.evaluate(step, now, d.test_images, labels, batch_size=4)
    assert (scores["correct"], scores["count"]) == (200, 200)


def test_images_and_labels_must_pair():
    d = images()
    message = (
        "evaluate: 10 images and 9 labels do not pair; expected one label for each, and at least "
        "one. Got images of shape (10, 4, 5, 1). Pass a set that is not empty, with its own labels."
    )
    with raises(ValueError, message):
        train.evaluate(print, None, d.test_images, d.test_labels[:9], batch_size=4)


def test_probabilities_under_shifts_are_those_of_the_shifted_images():
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    weights = rng.normal(size=(3, 4, 2, 5)).astype(np.float32)
    predict = lambda x: jnp.einsum("nhwc,hwco->no", x, weights)
    found = train.probabilities_under_shifts(predict, pixels)
    assert found.shape == (3, 4, 2, 5)
    for rows, columns in np.ndindex(3, 4):
        moved = np.roll(pixels, (rows, columns), (1, 2)).astype(np.float64)
        logits = np.einsum("nhwc,hwco->no", moved, weights)
        expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(found[rows, columns], expected, rtol=1e-4)
    steady = train.probabilities_under_shifts(mean_rows_of_all, pixels)
    assert metrics.surviving_share(steady) == 1.0
    assert metrics.surviving_share(found) < 1.0


def mean_rows_of_all(x):
    return x.mean((1, 2))


# --- what is counted --------------------------------------------------------------------------


def test_confusion_matrix_counts_pairs():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    expected = np.zeros((4, 4), int)
    for label, prediction in zip(labels, predictions, strict=True):
        expected[label, prediction] += 1
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, predictions, 4), expected)


def test_confusion_matrix_refuses_what_it_cannot_count():
    message = (
        "confusion_matrix: predictions reach from 0 to 4; expected 0..3. "
        "Got classes=4. Use classes=5."
    )
    with raises(ValueError, message):
        metrics.confusion_matrix([0, 1], [0, 4], 4)
    message = (
        "confusion_matrix: labels and predictions do not pair; expected two vectors of one length. "
        "Got labels of shape (2,) and predictions of shape (2, 3). "
        "Pass logits.argmax(-1) as predictions."
    )
    with raises(ValueError, message):
        metrics.confusion_matrix([0, 1], np.zeros((2, 3)), 4)


def test_correct_takes_weights_of_classes_and_never_counts_a_nan():
    logits = jnp.asarray([[1.0, 2.0], [2.0, 1.0], [jnp.nan, 0.0], [0.0, jnp.inf]])
    assert metrics.correct(logits, jnp.asarray([1, 1, 0, 1])).tolist() == [
        True,
        False,
        False,
        False,
    ]
    weights = jnp.asarray([[0.3, 0.7], [0.9, 0.1], [1.0, 0.0], [0.0, 1.0]])
    assert metrics.correct(logits, weights).tolist() == [True, True, False, False]


def test_weight_decay_spares_biases_and_scales():
    params, _ = network().init(jax.random.key(0), jax.ShapeDtypeStruct((1, 4, 5, 1), jnp.float32))
    params = jax.tree.map(jnp.ones_like, params)
    optimizer = optax.add_decayed_weights(0.5, mask=train.decays)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        kernel = jax.tree_util.keystr(path).endswith("['kernel']")
        np.testing.assert_array_equal(leaf, 0.5 if kernel else 0.0, err_msg=str(path))


def test_warmup_cosine_rises_in_a_line_and_falls_along_a_cosine():
    schedule = train.warmup_cosine(0.2, 100, warmup=0.1)
    for step in range(101):
        fall = 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))
        expected = 0.2 * (step / 10 if step < 10 else fall)
        assert math.isclose(schedule(step), expected, rel_tol=1e-5, abs_tol=1e-7), step


def test_bytes_are_divided_and_other_integers_refused():
    np.testing.assert_allclose(precision.to_float32(jnp.arange(256).astype(jnp.uint8)) * 255,
                               np.arange(256), rtol=1e-6)  # fmt: skip
    assert precision.to_float32(jnp.ones(2, jnp.bfloat16)).dtype == jnp.float32
    message = (
        "to_float32: images are neither bytes nor floats; expected uint8 or a floating dtype. "
        "Got images of dtype int32. Use images.astype('float32') / maximum."
    )
    with raises(TypeError, message):
        precision.to_float32(jnp.arange(3))


def test_an_unknown_precision_is_refused_with_the_choices():
    message = (
        'make_train_step: precision is unknown; expected one of "float32", "bfloat16". '
        "Got precision='fp8'. Use precision='float32', say."
    )
    with raises(ValueError, message):
        train.make_train_step(linear(), CROSS_ENTROPY, optax.sgd(0.1), precision="fp8")


# --- the loop ---------------------------------------------------------------------------------


def test_fit_is_a_loop_over_the_order_of_every_epoch():
    d = images(count=20)  # two batches of 8 an epoch, 4 images left out of each
    optimizer = optax.sgd(0.5, momentum=0.9)
    now = train.init_train_state(linear(), optimizer, jax.random.key(5), d.train_images)
    before = digest(now)
    step = train.make_train_step(linear(), CROSS_ENTROPY, optimizer)
    done = run(dataset=d, start=now, seed=5, epochs=3)
    assert digest(now) == before
    expected = now
    for epoch in range(3):
        indices = data.order(5, epoch, 20)
        for batch in (indices[:8], indices[8:16]):
            pair = (d.train_images[batch], d.train_labels[batch])
            expected, _ = jax.jit(step)(expected, pair, jax.random.key(0))
    assert_close(done.train_state, expected)
    assert int(done.train_state.step) == 6


def test_records_say_what_happened_and_the_folder_holds_them(tmp_path):
    d, lines, called = images(), [], []
    schedule = train.warmup_cosine(0.5, 12)
    evaluation = train.make_eval_step(linear(), CROSS_ENTROPY)
    done = run(
        dataset=d, epochs=4, eval_step=evaluation, learning_rate=schedule, run=tmp_path,
        report=lines.append, log_every=5, optimizer=optax.sgd(schedule),
        callback=lambda state, record: called.append((int(state.step), record)),
    )  # fmt: skip
    assert [record["step"] for record in done.steps] == [5, 10]
    assert [record["epoch"] for record in done.history] == [1, 2, 3, 4]
    assert called == [(3 * record["epoch"], record) for record in done.history]
    last = done.history[-1]
    again = train.evaluate(evaluation, done.train_state, d.test_images, d.test_labels, batch_size=4)
    assert last["test_accuracy"] == again["accuracy"]
    assert math.isclose(last["test_loss"], again["loss"], rel_tol=1e-5)
    assert math.isclose(last["learning_rate"], schedule(11), rel_tol=1e-6)
    assert last["loss"] < done.history[0]["loss"]
    assert all(record["images_per_second"] > 0 < record["seconds"] for record in done.history)
    assert len(lines) == 5
    assert lines[0] == "epoch     loss  accuracy  test loss  test accuracy  images/s  learning rate"
    assert [len(line) for line in lines] == [len(lines[0])] * 5
    written = run_folder.read_metrics(tmp_path)
    assert [record for record in written if "epoch" in record] == done.history
    assert [record for record in written if "epoch" not in record] == done.steps
    assert_close(run_folder.load_params(tmp_path, done.train_state), done.train_state, tolerance=0)


def test_the_step_is_compiled_once():
    traces = []

    def apply(params, state, x, *, train=False, key=None):
        traces.append(train)
        return linear().apply(params, state, x)

    watched = Layer(linear().init, apply, "watched")
    run(watched, epochs=3, eval_step=train.make_eval_step(watched, CROSS_ENTROPY))
    assert traces == [True, False]


def test_compiler_options_are_picked_and_change_no_more_than_rounding(monkeypatch):
    """Those of `jaxconv.compiler_options` for the step reach the compiler, unless others do."""
    step, optimizer = network_step()
    start = train.init_train_state(network(), optimizer, jax.random.key(0), images().train_images)
    batch = (images().train_images[:8], images().train_labels[:8])
    picked = compiler_options(step, start, batch, jax.random.key(0))
    asked, jit = [], jax.jit

    def watched(f, **options):
        if "donate_argnums" in options:
            asked.append(options["compiler_options"])
        return jit(f, **options)

    with monkeypatch.context() as patch:
        patch.setattr(jax, "jit", watched)
        tuned = network_run(epochs=1, start=start)
        plain = network_run(epochs=1, start=start, compiler_options={})
    assert asked == [picked or None, None]
    # Not relative to each leaf: that of a bias before a batch norm is zero but for rounding.
    for a, b in zip(*map(jax.tree.leaves, (tuned.train_state, plain.train_state)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_there_is_no_such_option"):
        run(compiler_options={"xla_there_is_no_such_option": True})


def test_without_a_test_set_the_columns_stay_empty():
    lines = []
    done = run(epochs=1, report=lines.append)
    assert "test_accuracy" not in done.history[0]
    assert lines[1].split()[3:5] == ["-", "-"]


def test_the_bar_counts_steps_and_goes_away(capsys, monkeypatch):
    class Terminal:
        def __init__(self, stream):
            self.stream = stream

        def isatty(self):
            return True

        def __getattr__(self, name):
            return getattr(self.stream, name)

    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    run(epochs=1, progress=True)
    shown = capsys.readouterr().err
    assert "epoch 1:" in shown
    assert "/3 [" in shown
    run(epochs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_no_bar_where_the_output_is_no_terminal(capsys):
    run(epochs=1, progress=True)
    assert capsys.readouterr().err == ""


def test_a_missing_bar_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    message = (
        "fit: tqdm is not installed; expected the extra [train]. Got no module 'tqdm'. "
        "Run: pip install 'jaxconv[train]'."
    )
    with raises(ModuleNotFoundError, message):
        run(progress=True)
    assert len(run(progress=False).history) == 2


def test_fewer_images_than_a_batch_are_refused():
    message = (
        "fit: 24 images make no whole batch; expected at least one batch. "
        "Got batch_size=25. Use batch_size=24 or less."
    )
    with raises(ValueError, message):
        run(batch_size=25)


# --- failures, interruptions, repetition ------------------------------------------------------


def poisoned(at):
    """Floating images of which one holds a NaN."""
    d = images()
    pixels = d.train_images.astype(np.float32) / 255
    pixels[at, 2, 2, 0] = np.nan
    return d._replace(train_images=pixels)


def test_a_failure_stops_with_its_step_and_leaves_the_batch(tmp_path):
    sample = int(data.order(0, 0, 24)[13])  # in the second batch of the first epoch
    d = poisoned(sample)
    with pytest.raises(FloatingPointError) as caught:
        run(dataset=d, run=tmp_path)
    assert str(caught.value) == (
        "fit: step 2 (epoch 1) has a loss, a gradient or a model state that is not finite; "
        "expected finite numbers. Got loss=nan, gradient_norm=nan. The batch is in "
        f"{tmp_path / 'failed_batch.npz'}, the state before the step beside it; lower the "
        "learning rate."
    )
    with np.load(tmp_path / "failed_batch.npz", allow_pickle=False) as saved:
        assert int(saved["step"]) == 2
        assert sample in saved["indices"]
        batch = train.Batch(**{name: saved[name] for name in train.Batch._fields})
    optimizer = optax.sgd(0.5, momentum=0.9)
    like = train.init_train_state(linear(), optimizer, jax.random.key(1), d.train_images)
    before = train.checkpoint.load(tmp_path / "train_state.safetensors", like)
    assert int(before.step) == 1
    step = train.make_train_step(linear(), CROSS_ENTROPY, optimizer)
    _, scores = step(before, batch, jax.random.key(0))  # the failure, seen again
    assert not scores["finite"]
    one = images()._replace(train_images=np.nan_to_num(d.train_images))
    sound = run(dataset=one, epochs=1, callback=None)
    assert int(sound.train_state.step) == 3


def test_a_failure_without_a_folder_says_how_to_keep_the_batch():
    message = (
        "fit: step 1 (epoch 1) has a loss, a gradient or a model state that is not finite; "
        "expected finite numbers. Got loss=nan, gradient_norm=nan. Pass run= to save the batch "
        "next time; lower the learning rate."
    )
    with raises(FloatingPointError, message):
        run(dataset=poisoned(int(data.order(0, 0, 24)[0])))


def interrupt_at(step):
    """A schedule that presses Ctrl-C when it is asked about one step."""

    def schedule(number):
        if number == step:
            signal.raise_signal(signal.SIGINT)
        return 0.5

    return schedule


def test_ctrl_c_saves_and_ends_cleanly_and_a_run_that_goes_on_has_the_same_bits(tmp_path, capfd):
    lines = []
    handler = signal.getsignal(signal.SIGINT)
    kwargs = {"epochs": 3, "log_every": 1}
    half = network_run(**kwargs, learning_rate=interrupt_at(3), run=tmp_path, report=lines.append)
    assert signal.getsignal(signal.SIGINT) is handler
    assert half.interrupted
    assert int(half.train_state.step) == 4  # in the middle of the second epoch
    assert [record["epoch"] for record in half.history] == [1]
    assert lines[-1] == f"interrupted after step 4; parameters saved in {tmp_path}"
    assert "Ctrl-C: stopping after this step" in capfd.readouterr().err
    like = jax.tree.map(jnp.zeros_like, half.train_state)
    assert digest(run_folder.load_params(tmp_path, like).params) == digest(half.train_state.params)

    saved = train.checkpoint.load(tmp_path / "train_state.safetensors", like)
    rest = network_run(**kwargs, start=saved)
    straight = network_run(**kwargs)
    assert [record["epoch"] for record in rest.history] == [2, 3]
    assert digest(rest.train_state) == digest(straight.train_state)
    assert not straight.interrupted


def test_a_second_ctrl_c_stops_at_once():
    def schedule(number):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(learning_rate=schedule, log_every=1)
    assert signal.getsignal(signal.SIGINT) is handler


def test_fit_works_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    thread.join()
    assert digest(results[0].train_state) == digest(run().train_state)


def test_a_seed_decides_every_bit():
    first, again, other = (digest(network_run(seed=seed).train_state) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_fresh_process_gives_the_same_bits():
    here = pathlib.Path(__file__).parent
    program = "import conftest, test_train as t; print(t.digest(t.network_run(seed=4).train_state))"
    environment = os.environ | {"PYTHONPATH": str(here), "PYTHONHASHSEED": "11"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == digest(network_run(seed=4).train_state)


# --- the folder of a run ----------------------------------------------------------------------


def test_a_folder_says_how_to_repeat_the_run(tmp_path):
    config = {"seed": 3, "lr": np.float32(0.5), "sizes": (1, 2), "path": tmp_path, "nan": math.nan}
    folder = run_folder.create(tmp_path / "runs" / "digits", config)
    assert folder == tmp_path / "runs" / "digits"
    saved = json.loads((folder / "config.json").read_text())
    assert saved["config"] == {
        "seed": 3, "lr": 0.5, "sizes": [1, 2], "path": str(tmp_path), "nan": None,
    }  # fmt: skip
    assert saved["versions"]["jax"] == jax.__version__
    assert set(saved["versions"]) == {"python", "jaxconv", "jax", "jaxlib", "numpy", "optax"}
    assert saved["machine"]["backend"] == jax.default_backend()
    assert "XLA_FLAGS" in saved["flags"]
    assert run_folder.create(folder, {}).name == "digits-2"
    assert run_folder.create(folder, {}).name == "digits-3"


def test_metrics_survive_a_line_that_was_cut(tmp_path):
    run_folder.append(tmp_path, {"step": 1, "loss": 0.5})
    run_folder.append(tmp_path, {"step": 2, "loss": math.inf})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')
    whole = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    assert run_folder.read_metrics(tmp_path) == whole
    run_folder.append(tmp_path, {"step": 3, "loss": 0.25})
    assert run_folder.read_metrics(tmp_path) == [*whole, {"step": 3, "loss": 0.25}]
    path.write_bytes(b"no JSON\n" + path.read_bytes())
    with pytest.raises(json.JSONDecodeError):
        run_folder.read_metrics(tmp_path)


def test_parameters_of_another_model_are_refused(tmp_path):
    d = images()
    now = train.init_train_state(linear(), optax.sgd(0.1), jax.random.key(0), d.train_images)
    run_folder.save_params(tmp_path, now)
    other = train.init_train_state(linear(4), optax.sgd(0.1), jax.random.key(0), d.train_images)
    path = str(tmp_path / "params.safetensors")
    message = (
        "checkpoint.load: 1 entries differ from `like` ('params/kernel' is float32 (4, 3), "
        "expected float32 (4, 4)); expected the same paths, shapes and dtypes. "
        f"Got path={path!r}. Load it with the model that it was saved from."
    )
    with raises(ValueError, message):
        run_folder.load_params(tmp_path, other)
