"""Pictures: the right numbers at the right places, without global state or a display."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from helpers import raises

from jaxconv import plots
from jaxconv.train import run_folder


@pytest.fixture
def history():
    """Three epochs of four steps."""
    return [
        {
            "epoch": epoch,
            "step": 4 * epoch,
            "loss": 1.0 / epoch,
            "accuracy": 0.2 * epoch,
            "test_loss": 1.5 / epoch,
            "test_accuracy": 0.25 * epoch,
            "learning_rate": 0.1,
        }
        for epoch in (1, 2, 3)
    ]


def drawn(axes):
    """The figure rendered to bytes: what would fail at drawing time fails here."""
    figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
    figure.canvas.draw()
    return figure


def test_curves_hold_the_records(history):
    steps = [{"step": 2, "loss": 2.0, "learning_rate": 0.05}, {"step": 6, "loss": 0.7,
              "learning_rate": 0.1}]  # fmt: skip
    loss, accuracy, rate = plots.curves(history, steps)
    lines = {line.get_label(): line for line in loss.get_lines()}
    np.testing.assert_array_equal(lines["train"].get_xydata(), [[1, 1], [2, 0.5], [3, 1 / 3]])
    np.testing.assert_array_equal(lines["test"].get_xydata(), [[1, 1.5], [2, 0.75], [3, 0.5]])
    np.testing.assert_array_equal(lines["single steps"].get_xydata(), [[0.5, 2.0], [1.5, 0.7]])
    np.testing.assert_allclose(accuracy.get_lines()[0].get_ydata(), [20, 40, 60])
    np.testing.assert_allclose(accuracy.get_lines()[1].get_ydata(), [25, 50, 75])
    np.testing.assert_array_equal(rate.get_lines()[0].get_xydata(), [[0.5, 0.05], [1.5, 0.1]])
    assert accuracy.get_title(loc="left") == "Accuracy: 75.00 % on the test set"
    drawn(loss)


def test_curves_without_a_test_set(history):
    for record in history:
        del record["test_loss"], record["test_accuracy"]
    loss, accuracy, rate = plots.curves(history)
    assert [line.get_label() for line in loss.get_lines()] == ["train"]
    assert accuracy.get_title(loc="left") == "Accuracy"
    np.testing.assert_array_equal(rate.get_lines()[0].get_xydata()[:, 0], [1, 2, 3])
    drawn(loss)


def test_an_empty_history_is_refused():
    message = (
        "curves: the history is empty; expected one record an epoch at least. Got history=[]. "
        "Pass Fit.history of a run that finished an epoch."
    )
    with raises(ValueError, message):
        plots.curves([])


def test_confusion_shows_shares_and_writes_counts():
    counts = np.asarray([[3, 1, 0], [0, 5, 0], [2, 0, 2]])
    axes = plots.confusion(counts, ("cat", "dog", "owl"))
    shares = [[75, 25, 0], [0, 100, 0], [50, 0, 50]]
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "3", (1, 0): "1", (1, 1): "5", (0, 2): "2", (2, 2): "2"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "owl"]
    drawn(axes)


def test_confusion_of_many_classes_and_of_a_class_without_images():
    counts = np.diag([0] + [1] * 99)
    axes = plots.confusion(counts, 100)
    assert not axes.texts
    assert axes.images[0].get_array()[0, 0] == 0
    drawn(axes)
    message = (
        "confusion: the matrix does not fit 3 classes; expected (3, 3). Got counts of shape "
        "(2, 2). Use train.metrics.confusion_matrix(labels, predictions, 3)."
    )
    with raises(ValueError, message):
        plots.confusion(np.eye(2, dtype=int), 3)


def test_filters_are_on_one_scale_that_is_symmetric():
    kernel = np.random.default_rng(0).normal(size=(3, 5, 2, 9))
    axes = plots.filters(kernel)
    limit = np.abs(kernel.mean(2)).max()
    for feature, place in enumerate(axes):
        image = place.images[0]
        np.testing.assert_allclose(image.get_array(), kernel[..., feature].mean(2))
        np.testing.assert_allclose(image.get_clim(), (-limit, limit))
    assert len(axes) == 9
    drawn(axes)


def test_filters_over_colors_are_drawn_in_color():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 70))
    axes = plots.filters(kernel)
    assert len(axes) == 64
    picture = axes[5].images[0].get_array()
    assert picture.shape == (3, 3, 3)
    assert (picture.min(), picture.max()) == (0, 1)
    assert drawn(axes).get_suptitle() == "64 of 70 learned filters of 3 x 3 x 3 taps"
    message = (
        "filters: the kernel has 3 axes; expected (height, width, C, features). Got kernel of "
        "shape (3, 1, 8). Pass the kernel of a 2-D convolution."
    )
    with raises(ValueError, message):
        plots.filters(np.ones((3, 1, 8)))


def test_feature_maps_are_on_one_scale():
    maps = np.random.default_rng(0).normal(size=(4, 6, 40))
    axes = plots.feature_maps(np.zeros((8, 12, 3), np.uint8), maps, most=11, title="Stem")
    assert len(axes) == 12
    shown = maps[..., :11]
    for channel, place in enumerate(axes[1:]):
        np.testing.assert_array_equal(place.images[0].get_array(), maps[..., channel])
        assert place.images[0].get_clim() == (shown.min(), shown.max())
    assert drawn(axes).get_suptitle() == "Stem, 11 of 40 channels"


def test_the_worst_mistake_comes_first():
    probabilities = np.asarray([[0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.55, 0.45], [0.8, 0.2]])
    labels = [0, 0, 0, 0, 1]
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    axes = plots.mistakes(images, labels, probabilities, ("a", "b"))
    assert [place.get_title().splitlines() for place in axes] == [
        ["a taken for b", "90 %"],
        ["b taken for a", "80 %"],
        ["a taken for b", "70 %"],
        ["a, right", "55 %"],
        ["a, right", "60 %"],
    ]
    assert [int(place.images[0].get_array()[0, 0]) for place in axes] == [1, 4, 2, 3, 0]
    title = "Worst mistakes: 3 of 5 images are taken for another class"
    assert drawn(axes).get_suptitle().startswith(title)
    assert len(plots.mistakes(images, labels, probabilities, 2, most=2)) == 2


def test_images_that_cannot_be_drawn_are_refused():
    message = (
        "mistakes: images cannot be drawn; expected (N, H, W, 1) or (N, H, W, 3), N at least 1. "
        "Got images of shape (2, 8, 8, 2). Use images[None] for one image."
    )
    with raises(ValueError, message):
        plots.mistakes(np.ones((2, 8, 8, 2)), [0, 1], np.eye(2), 2)


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 3)])
def test_a_shift_stands_at_its_own_place_on_the_map(rows, columns):
    image = np.zeros((rows, columns, 1))
    image[0, 0] = 1.0
    true = np.full((rows, columns), 0.9)
    true[1, columns - 1] = 0.2  # down by one, left by one
    probabilities = np.stack([true, 1 - true], axis=-1)
    before, heat, after = plots.prediction_under_shifts(image, probabilities, 0, ("x", "y"))
    left, right, bottom, top = heat.images[0].get_extent()
    array = heat.images[0].get_array()
    assert (right - left, bottom - top) == (columns, rows)
    assert array[int(1 - top), int(-1 - left)] == 0.2
    assert array[int(0 - top), int(0 - left)] == 0.9
    crosses = heat.get_lines()[-1].get_xydata()
    np.testing.assert_array_equal(crosses, [[-1, 1]])
    assert after.get_title(loc="left") == "at its worst shift: down 1, left 1"
    np.testing.assert_array_equal(
        after.images[0].get_array(), np.roll(image[..., 0], (1, -1), (0, 1))
    )
    assert (before.get_xlabel(), after.get_xlabel()) == ('"x", 90 %', '"y", 80 %')
    title = f'p("x") at each of {rows * columns} shifts: right at {rows * columns - 1}'
    assert heat.get_title(loc="left") == title
    drawn(heat)


def test_a_large_map_has_a_line_round_what_is_wrong():
    wrong = np.zeros((16, 20), bool)
    wrong[2:9, 3:15] = True
    probabilities = np.stack([~wrong, wrong], axis=-1).astype(float)
    _, heat, _ = plots.prediction_under_shifts(np.ones((16, 20, 1)), probabilities, 0, 2)
    (line,) = heat.collections
    corners = line.get_paths()[0].vertices
    inside = np.roll(wrong, (8, 10), (0, 1))
    for x, y in corners:  # every corner of the line lies half a pixel from right and from wrong
        near = inside[
            int(np.floor(y)) + 8 : int(np.ceil(y)) + 9, int(np.floor(x)) + 10 : int(np.ceil(x)) + 11
        ]
        assert near.any()
        assert not near.all()
    drawn(heat)


def test_a_map_of_another_size_is_refused():
    message = (
        "prediction_under_shifts: probabilities have no entry for every shift; expected "
        "(H, W, classes) with (H, W) = (4, 4). Got probabilities of shape (4, 5, 2). "
        "Use train.probabilities_under_shifts(predict, image[None])[:, :, 0]."
    )
    with raises(ValueError, message):
        plots.prediction_under_shifts(np.ones((4, 4, 1)), np.ones((4, 5, 2)), 0, 2)


def test_accuracy_under_shifts_counts_hits_and_survivors():
    predictions = np.zeros((2, 4, 5), int)  # five images, all called 0 ...
    predictions[1, 3, 0] = 1  # ... but one at one shift
    labels = [0, 0, 0, 1, 1]
    axes = plots.accuracy_under_shifts(np.eye(2)[predictions], labels)
    array = axes.images[0].get_array()
    expected = np.full((2, 4), 60.0)
    expected[1, 3] = 40.0
    np.testing.assert_allclose(array, np.roll(expected, (1, 2), (0, 1)))
    assert axes.get_title(loc="left") == (
        "Accuracy under circular shifts, 5 images\n80.0 % of the predictions survive every shift"
    )
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written[-1, -1] == "40.0"
    assert written[0, 0] == "60.0"
    drawn(axes)


def test_numbers_are_dark_on_light_colors():
    """Also where all of a narrow range lies in the light half of the colors."""
    predictions = np.zeros((4, 4, 400), int)
    predictions[::2, ::2, 0] = 1  # 99.75 % and 100 %: the colors span a whole percent
    axes = plots.accuracy_under_shifts(np.eye(2)[predictions], np.zeros(400, int))
    image = axes.images[0]
    for text in axes.texts:
        light = image.cmap(image.norm(float(text.get_text())))[:3]
        assert np.mean(light) > 0.4
        assert text.get_color() != "white"
    drawn(axes)


def test_a_picture_is_written_whole(tmp_path, history):
    path = run_folder.save_picture(tmp_path, "curves", plots.curves(history))
    assert [entry.name for entry in tmp_path.iterdir()] == ["curves.png"]
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_no_global_state_is_touched(history):
    settings = dict(matplotlib.rcParams)
    drawn(plots.curves(history))
    drawn(plots.confusion(np.eye(2, dtype=int), 2))
    assert dict(matplotlib.rcParams) == settings
    program = (
        "import sys, numpy as np; from jaxconv import plots; "
        "plots.confusion(np.eye(2, dtype=int), 2).figure.canvas.draw(); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = (
        "confusion: matplotlib is not installed; expected the extra [plots]. "
        "Got no module 'matplotlib.figure'. Run: pip install 'jaxconv[plots]'."
    )
    with raises(ModuleNotFoundError, message):
        plots.confusion(np.eye(2, dtype=int), 2)
