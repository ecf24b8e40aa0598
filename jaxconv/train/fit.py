"""The loop: it only iterates. What decides is in the step, what is written is in the journal."""

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _parse
from jaxconv.compiler_options import tuned_jit
from jaxconv.train._interrupt import interruptions
from jaxconv.train._journal import Journal, Record, Settings, progress_bar
from jaxconv.train.data.order import batches, order
from jaxconv.train.evaluate import EvalStep, evaluate
from jaxconv.train.step import Batch, TrainState, TrainStep

Schedule = Callable[[int], Any]


class Fit(NamedTuple):
    """What a run leaves behind.

    `history` has one record an epoch: epoch, step, loss, accuracy, gradient_norm (means over the
    steps), test_loss, test_accuracy, learning_rate, images_per_second, seconds. `steps` has one
    record every `log_every` steps: step, loss, learning_rate. `interrupted` says that Ctrl-C ended
    the run.
    """

    train_state: TrainState
    history: list[Record]
    steps: list[Record]
    interrupted: bool


def fit(
    train_state: TrainState,
    step: TrainStep,
    data: Any,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    eval_step: EvalStep | None = None,
    learning_rate: float | Schedule = float("nan"),
    run: str | os.PathLike | None = None,
    callback: Callable[[TrainState, Record], None] | None = None,
    progress: bool = True,
    report: Callable[[str], None] = print,
    log_every: int = 10,
    compiler_options: Mapping[str, Any] | None = None,
) -> Fit:
    """Calls a step on every batch of every epoch.

    Whatever decides the parameters is a function of the arguments: the order of an epoch is
    `order(seed, epoch, count)`, its keys come from the seed, the samples and the number of the
    step. So two runs give the same bits on one machine, and a run that goes on from a saved
    `TrainState`, in the middle of an epoch even, gives the bits of one that never stopped.

    A training batch that is not full is left out of its epoch; the test set is scored whole. The
    first step, which compiles, is left out of images/s. Steps run jitted, on a copy of
    `train_state`, which is donated from step to step.

    Args:
        train_state: where to begin; what its `step` says is over is not repeated.
        step: what `make_train_step` returns.
        data: a `Dataset`, or anything with train_images, train_labels, test_images, test_labels.
        epochs: how many there are, those that are over included.
        batch_size: images a step.
        seed: decides order, augmentation and dropout.
        eval_step: what `make_eval_step` returns; scores the test set after every epoch.
        learning_rate: the optimizer's, a number or a schedule, for the records only.
        run: folder for metrics.jsonl and params.safetensors; see `run_folder.create`.
        callback: called as callback(train_state, record) after every epoch.
        progress: a progress bar, on a terminal.
        report: takes the lines of text, one an epoch.
        log_every: steps from one record of the loss to the next.
        compiler_options: of the jits of both steps; picked by `jaxconv.compiler_options` unless
            given. {} compiles with the defaults of XLA.

    Returns:
        A `Fit`. After Ctrl-C it holds what was reached; with a run folder, params.safetensors and
        train_state.safetensors hold it too.

    Raises:
        FloatingPointError: at the first step whose loss or gradients are not finite. With a run
            folder, its batch is in failed_batch.npz and the state before it is saved.
        ValueError: when there are fewer images than one batch.
        ModuleNotFoundError: for a progress bar or a run folder without the extra [train].
    """
    per_epoch = _batches_per_epoch(len(data.train_images), batch_size)
    settings = Settings(
        learning_rate if callable(learning_rate) else lambda step: learning_rate,
        None if run is None else pathlib.Path(run),
        report,
        _parse.integer("fit", "log_every", log_every),
        progress_bar(wanted=progress),
    )
    key = jax.random.fold_in(jax.random.key(seed), 1)  # key(seed) itself often makes the parameters
    jitted = tuned_jit(step, compiler_options, donate_argnums=0)
    advance = lambda now, batch: jitted(now, batch, key)
    score = None if eval_step is None else tuned_jit(eval_step, compiler_options)
    now = jax.tree.map(jnp.copy, train_state)
    journal = Journal(settings, int(now.step))
    with interruptions() as interrupted:
        for epoch in range(int(now.step) // per_epoch, epochs):
            indices = order(seed, epoch, len(data.train_images))
            todo = list(batches(indices, batch_size, drop_last=True))[int(now.step) % per_epoch :]
            journal.begin(epoch, len(todo))
            now = _epoch(advance, now, _feed(data, todo, epoch), journal, interrupted)
            if interrupted():
                break
            record = journal.close(_scores(score, now, data, batch_size))
            if callback is not None:
                callback(now, record)
        journal.finish(now, interrupted=interrupted())
        return Fit(now, journal.history, journal.steps, interrupted())


def _epoch(
    advance: Callable[..., Any],
    now: TrainState,
    feed: Iterator[Batch],
    journal: Journal,
    interrupted: Callable[[], bool],
) -> TrainState:
    batch = next(feed, None)
    try:
        while batch is not None and not interrupted():
            now, metrics = advance(now, batch)
            current, batch = batch, next(feed, None)  # gathered while the device computes
            metrics = jax.device_get(metrics)
            if not metrics["finite"]:
                journal.fail(now, metrics, current)
            journal.step(metrics)
    finally:
        journal.end()
    return now


def _feed(data: Any, todo: list[np.ndarray], epoch: int) -> Iterator[Batch]:
    images, labels = np.asarray(data.train_images), np.asarray(data.train_labels)
    number = np.int32(epoch)
    return (Batch(images[at], labels[at], at.astype(np.int32), number) for at in todo)


def _scores(score: EvalStep | None, now: TrainState, data: Any, batch_size: int) -> dict[str, Any]:
    if score is None:
        return {}
    scores = evaluate(score, now, data.test_images, data.test_labels, batch_size=batch_size)
    return {"test_loss": scores["loss"], "test_accuracy": scores["accuracy"]}


def _batches_per_epoch(count: int, batch_size: int) -> int:
    size = _parse.integer("fit", "batch_size", batch_size)
    if count < size:
        raise ValueError(
            f"fit: {count} images make no whole batch; expected at least one batch. "
            f"Got batch_size={size}. Use batch_size={max(count, 1)} or less."
        )
    return count // size
