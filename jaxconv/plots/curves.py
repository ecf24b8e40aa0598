"""How a run went: loss, accuracy and learning rate over the epochs."""

from collections.abc import Sequence
from typing import Any

from jaxconv.plots._figure import BLUE, FAINT, INK, ORANGE, new_figure, percent, tidy


def curves(history: Sequence[dict[str, Any]], steps: Sequence[dict[str, Any]] = ()) -> Any:
    """Draws the training curves of a run.

    Args:
        history: one record an epoch with epoch, step, loss, accuracy, learning_rate and, where
            there is a test set, test_loss and test_accuracy: `Fit.history`.
        steps: records between them with step, loss and learning_rate: `Fit.steps`.

    Returns:
        Three Axes of one figure: loss, accuracy, learning rate.

    Raises:
        ModuleNotFoundError: without the extra [plots].
        ValueError: when the history is empty.

    Example:
        >>> record = dict(epoch=1, step=9, loss=1.0, accuracy=0.5, learning_rate=0.1)
        >>> [axes.get_title(loc="left") for axes in curves([record])]
        ['Loss', 'Accuracy', 'Learning rate']
    """
    if not history:
        raise ValueError(
            "curves: the history is empty; expected one record an epoch at least. "
            "Got history=[]. Pass Fit.history of a run that finished an epoch."
        )
    figure = new_figure("curves", 11, 3.2)
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = [record["epoch"] for record in history]
    per_epoch = history[-1]["step"] / epochs[-1]
    between = [record["step"] / per_epoch for record in steps]

    tidy(loss, "Loss", x="epoch", y="loss")
    if between:
        losses = [record["loss"] for record in steps]
        loss.plot(between, losses, color=FAINT, linewidth=0.7, alpha=0.8, label="single steps")
    _pair(loss, epochs, history, "loss", 1.0)
    _log_scale(loss)

    last = history[-1].get("test_accuracy")
    reached = "" if last is None else f": {percent(last, 2)} on the test set"
    tidy(accuracy, f"Accuracy{reached}", x="epoch", y="right predictions, %")
    _pair(accuracy, epochs, history, "accuracy", 100.0)

    tidy(rate, "Learning rate", x="epoch", y="learning rate")
    records = list(steps) or list(history)
    rate.plot(between or epochs, [record["learning_rate"] for record in records], color=INK)
    rate.set_ylim(bottom=0)
    for axes in (loss, accuracy, rate):
        axes.set_xlim(left=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return loss, accuracy, rate


def _log_scale(axes: Any) -> None:
    """A logarithmic axis whose ticks read 0.5, 1, 2 rather than powers of ten, where it helps."""
    low, high = axes.dataLim.intervaly
    if not 0 < 3 * low < high:
        return
    axes.set_yscale("log")
    axes.set_ylabel("loss, log scale")
    low, high = axes.get_ylim()
    ticks = [digit * 10.0**power for power in range(-8, 5) for digit in (1, 2, 3, 5, 7)]
    ticks = [tick for tick in ticks if low <= tick <= high] or [low, high]
    axes.set_yticks(ticks[:: -(-len(ticks) // 8)])
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.set_yticks([], minor=True)


def _pair(axes: Any, epochs: list[int], history: Sequence[dict], name: str, scale: float) -> None:
    marker = "o" if len(epochs) < 12 else None
    style = {"marker": marker, "markersize": 3.5, "linewidth": 1.6}
    axes.plot(
        epochs, [scale * record[name] for record in history], color=BLUE, label="train", **style
    )
    scored = [record for record in history if record.get(f"test_{name}") is not None]
    if scored:
        x = [record["epoch"] for record in scored]
        y = [scale * record[f"test_{name}"] for record in scored]
        axes.plot(x, y, color=ORANGE, label="test", **style)
    axes.legend(frameon=False, fontsize=8)
