"""What a run writes down while it trains: a bar, a line an epoch, records, and a failed batch."""

import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxconv import _atomic
from jaxconv._extras import need
from jaxconv.train import checkpoint, run_folder
from jaxconv.train.step import Batch, TrainState

Record = dict[str, Any]

HEADER = "epoch     loss  accuracy  test loss  test accuracy  images/s  learning rate"
SUMMED = ("loss", "correct", "count", "gradient_norm")


class Settings(NamedTuple):
    """How a journal writes: see the arguments of `fit`."""

    learning_rate: Callable[[int], Any]
    run: pathlib.Path | None
    report: Callable[[str], None]
    log_every: int
    bar: Any  # tqdm's constructor, or None


class Journal:
    """Adds up the metrics of steps and writes them down epoch by epoch."""

    def __init__(self, settings: Settings, number: int):
        """Begins at step `number`; the next step is taken to include a compilation."""
        self.settings = settings
        self.number = number
        self.steps: list[Record] = []
        self.history: list[Record] = []
        self._compiling = True
        settings.report(HEADER)

    def begin(self, epoch: int, batches: int) -> None:
        """Opens an epoch, counted from 0, of so many batches."""
        self._epoch = epoch
        self._sums = dict.fromkeys(SUMMED, 0)
        self._marks = [time.perf_counter()]
        bar = self.settings.bar
        # disable=None: no bar where the output is a file or a pipe
        self._bar = bar and bar(
            total=batches, desc=f"epoch {epoch + 1}", unit="batch", leave=False, disable=None
        )

    def step(self, metrics: Record) -> None:
        """Takes the metrics of one step."""
        self.number += 1
        self._marks.append(time.perf_counter())
        for name in SUMMED:
            self._sums[name] += metrics[name].item()
        if self.number % self.settings.log_every == 0:
            loss, rate = metrics["loss"].item(), self._rate()
            self.steps.append({"step": self.number, "loss": loss, "learning_rate": rate})
            self._append(self.steps[-1])
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {metrics['loss']:.4f}", refresh=False)
            self._bar.update()

    def end(self) -> None:
        """Takes the bar of an epoch away, whether it came to its end or not."""
        if self._bar is not None:
            self._bar.close()

    def close(self, scores: Record) -> Record:
        """Writes an epoch down, with the scores of the test set if there are any."""
        sums, made = self._sums, len(self._marks) - 1
        record = {
            "epoch": self._epoch + 1,
            "step": self.number,
            "loss": sums["loss"] / made,
            "accuracy": sums["correct"] / sums["count"],
            "gradient_norm": sums["gradient_norm"] / made,
            **scores,
            "learning_rate": self._rate(),
            "images_per_second": self._throughput(sums["count"] / made),
            "seconds": self._marks[-1] - self._marks[0],
        }
        self._compiling = False
        self.history.append(record)
        self._append(record)
        self.settings.report(line(record))
        return record

    def fail(self, train_state: TrainState, metrics: Record, batch: Batch) -> None:
        """Saves what it takes to see the failure again, and raises."""
        run = self.settings.run
        number = self.number + 1
        where = "Pass run= to save the batch next time"
        if run is not None:
            path = _save_batch(run, batch, number)
            save_state(run, train_state)
            where = f"The batch is in {path}, the state before the step beside it"
        raise FloatingPointError(
            f"fit: step {number} (epoch {self._epoch + 1}) has a loss, a gradient or a model state "
            f"that is not finite; expected finite numbers. Got loss={metrics['loss']}, "
            f"gradient_norm={metrics['gradient_norm']}. {where}; lower the learning rate."
        )

    def finish(self, train_state: TrainState, *, interrupted: bool) -> None:
        """Saves the parameters; after Ctrl-C the whole state too, to go on from."""
        run = self.settings.run
        if run is not None:
            run_folder.save_params(run, train_state)
            if interrupted:
                save_state(run, train_state)
        if interrupted:
            place = "not saved: there is no run folder" if run is None else f"saved in {run}"
            self.settings.report(f"interrupted after step {self.number}; parameters {place}")

    def _append(self, record: Record) -> None:
        if self.settings.run is not None:
            run_folder.append(self.settings.run, record)

    def _rate(self) -> float:
        with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix integers with floats
            return float(self.settings.learning_rate(self.number - 1))

    def _throughput(self, images: float) -> float:
        """Images a second, without the step that compiled when there are others."""
        first = 1 if self._compiling and len(self._marks) > 2 else 0
        made = len(self._marks) - 1 - first
        return made * images / (self._marks[-1] - self._marks[first])


def line(record: Record) -> str:
    """One line of the table under HEADER."""
    loss, accuracy = record.get("test_loss"), record.get("test_accuracy")
    return (
        f"{record['epoch']:5d}  {record['loss']:7.4f}  {record['accuracy']:8.2%}  "
        f"{'-' if loss is None else f'{loss:.4f}':>9}  "
        f"{'-' if accuracy is None else f'{accuracy:.2%}':>13}  "
        f"{record['images_per_second']:8,.0f}  {record['learning_rate']:13.3g}"
    )


def save_state(run: pathlib.Path, train_state: TrainState) -> None:
    """Writes the whole train state, the memory of the optimizer included."""
    checkpoint.save(run / "train_state.safetensors", train_state)


def progress_bar(*, wanted: bool) -> Any:
    """The constructor of tqdm bars, or None."""
    return need("fit", "tqdm", "train").tqdm if wanted else None


def _save_batch(run: pathlib.Path, batch: Batch, step: int) -> pathlib.Path:
    def write(path: pathlib.Path) -> None:
        with path.open("wb") as file:
            np.savez(file, step=step, **batch._asdict())

    return _atomic.replace(run / "failed_batch.npz", write)
