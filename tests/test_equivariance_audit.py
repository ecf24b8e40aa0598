"""Audits, Lie derivatives, scores and pages: numbers that are known, and text that is safe."""

import html.parser
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import raises
from jax import lax

from jaxconv import equivariance as eq
from jaxconv.equivariance import _fold, _jaxpr, _laws, _stretch, page
from jaxconv.equivariance._affine import is_affine

X = jax.random.normal(jax.random.key(0), (2, 8, 8, 2))
K = jax.random.normal(jax.random.key(1), (3, 3, 2, 2)) / 4


def nhwc(x, kernel, padding="VALID", stride=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers)


def conv(x, mode):
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
    return nhwc(padded, K.astype(x.dtype))


def test_lie_contributions_telescope_and_vanish_for_circular_convolution():
    exact = eq.lie_derivative(lambda x: conv(x, "wrap"), X)
    assert exact.relative <= 1e-4
    broken = eq.lie_derivative(lambda x: conv(jnp.tanh(conv(x, "constant")), "wrap"), X)
    assert broken.relative > 0.1
    assert broken.residue <= 1e-5
    assert abs(broken.contributions.sum() - broken.relative) <= 1e-5 * broken.relative


def test_lie_derivative_equals_central_differences():
    function = lambda x: jnp.tanh(x).mean((1, 2))
    found = eq.lie_derivative(function, X, (1.0, 0.0))
    step = 1e-2
    ends = [
        function(eq.translation([[t, 0.0]]).move(X, jnp.array([t, 0.0]), (1, 2)))
        for t in (-step, step)
    ]
    np.testing.assert_allclose(found.values[0], (ends[1] - ends[0]) / (2 * step), atol=2e-4)


WEIGHTS = jnp.arange(1.0, 3.0)
AFFINE = {
    "scale and bias": (lambda x: x * WEIGHTS.reshape(1, 1, 1, 2) + 1, True),
    "merged as normalization does": (
        lambda x: ((x.reshape(-1, 2) - WEIGHTS[None]) * WEIGHTS[None]).reshape(x.shape),
        True,
    ),
    "sum": (lambda x: x + x / 2 - 3, True),
    "position map": (lambda x: x * jnp.arange(8.0).reshape(1, 8, 1, 1), False),
    "product": (lambda x: x * x, False),
    "divisor": (lambda x: 1 / x, False),
    "relu": (jax.nn.relu, False),
    "conv of one pixel": (lambda x: nhwc(x, K[:1, 1:2]), True),
    "strided": (lambda x: nhwc(x, K[:1, 1:2], stride=2), False),
    "conv of three pixels": (lambda x: nhwc(x, K[:, 1:2]), False),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_rows_are_found_and_commute_with_parts_of_a_pixel(name):
    f, expected = AFFINE[name]
    program = _jaxpr.trace(f, X)
    laws = _laws.laws_of(program, [(1, 2)])
    rows = _fold.singles(program, laws)
    assert all(is_affine(program, laws, row) for row in rows) is expected
    half = eq.translation([[0.5, 0.25]])
    move = lambda x: half.move(x, jnp.array([0.5, 0.25]), (1, 2))
    if f(X).shape[1:3] != X.shape[1:3]:
        return  # another pitch: nothing to compare
    error = float(jnp.abs(move(f(X)) - f(move(X))).max())
    assert (error <= 2e-5) is expected  # measured 2e-6 at most


def test_errors_of_affine_rows_are_those_of_the_spectral_shift():
    def f(x):  # a stride, so that what follows should move by half a pixel
        y = conv(x, "constant")[:, ::2, ::2]
        z = y * WEIGHTS.reshape(1, 1, 1, 2) + 1
        return jnp.tanh(z)

    def rows(x):
        y = np.asarray(conv(x, "constant")[:, ::2, ::2], np.float64)
        return y * np.arange(1.0, 3.0) + 1

    found = eq.audit(f, X, shift=(1, 3))
    line = next(o for o in found.operations if o.path.endswith("add"))
    ramps = [np.exp(-2j * np.pi * t * np.fft.fftfreq(4)) for t in (0.5, 1.5)]
    for ramp, t in zip(ramps, (0.5, 1.5), strict=True):
        ramp[2] = np.cos(np.pi * t)  # Nyquist
    spectrum = np.fft.fft2(rows(X), axes=(1, 2)) * ramps[0][:, None, None] * ramps[1][:, None]
    moved = np.fft.ifft2(spectrum, axes=(1, 2)).real
    error = np.abs(moved - rows(jnp.roll(X, (1, 3), (1, 2)))).max() / np.abs(rows(X)).max()
    np.testing.assert_allclose(line.eps_inf, error, rtol=1e-5)
    assert line.eps_inf > 0.1
    assert abs(line.lie) <= 1e-6 < max(abs(o.lie) for o in found.operations)


def test_rows_that_are_compiled_together_are_measured_as_alone(monkeypatch):
    def function(x):
        y = nhwc(x, K[:1, :1])
        y = y * WEIGHTS.reshape(1, 1, 1, 2) + 1
        y = jnp.tanh(y)
        y = nhwc(y, K, "SAME") + x
        y = y[:, ::2, ::2]
        y = jnp.tanh(y) + nhwc(x, K[1:2, :1], stride=2)
        return y.mean((1, 2))

    def audit():
        return eq.audit(function, X, shift=(1, 3), counterfactual=(3,))

    alone = audit()
    monkeypatch.setattr(_stretch, "LARGE", 0)
    program = _jaxpr.trace(function, X)
    laws = _laws.laws_of(program, [(1, 2)])
    rows = _fold.calls(program, laws)
    pieces = _stretch.cut(program, laws, rows, (1, 3), ideal=True)
    assert 1 < len(pieces) <= len(rows) / 3
    assert any(len(piece.stretch.kept) > len(piece.stretch.passed) for piece in pieces)
    joined = audit()
    assert str(joined) == str(alone)
    assert joined.guilty
    assert joined.also
    for one, two in zip(alone.operations, joined.operations, strict=True):
        for name in ("eps_inf", "eps_2", "border", "lie", "added", "error_map"):
            first, second = (np.asarray(getattr(o, name), float) for o in (one, two))
            np.testing.assert_allclose(first, second, atol=1e-5)  # measured 0


def test_counterfactual_of_the_culprit_removes_the_error():
    def function(x):
        y = nhwc(x, K, "SAME")
        return conv(y, "wrap").max((1, 2))

    found = eq.audit(function, X, counterfactual=True, lie=False)
    total = found.outputs[0].eps_2
    assert total > 1e-2
    assert len(found.guilty) == 1
    np.testing.assert_allclose(found.guilty[0].added, total, atol=1e-5)
    assert "adds" in str(found)


def test_scores_of_known_predictors():
    images = jnp.zeros((3, 4, 6, 1)).at[:, 0, 0].set(1.0)
    at_origin = lambda x: jnp.concatenate([x[:, 0, 0], 1 - x[:, 0, 0]], axis=-1)
    steady = lambda x: jnp.concatenate([x.sum((1, 2)), jnp.zeros((len(x), 1))], axis=-1)
    found = eq.consistency(at_origin, images, jnp.zeros(3, int))
    assert found.shifts == 24
    assert found.c_all == 0.0
    assert found.a_adv == 0.0
    np.testing.assert_allclose(found.accuracy, 1 / 24)
    np.testing.assert_allclose(found.c_pair, (1 + 23**2) / 24**2)
    assert str(found).startswith(
        "circular shift, 24 shifts from 0 to 5 pixels, all pairs, 3 images"
    )
    sound = eq.consistency(steady, images, jnp.zeros(3, int))
    assert (sound.c_all, sound.c_pair, sound.a_adv, sound.mac) == (1.0, 1.0, 1.0, 0.0)
    with raises(
        ValueError,
        "consistency: f returns [(3, 4, 6, 1)]; expected class scores (N, classes). Got x of "
        "shape (3, 4, 6, 1). Use dense_consistency for maps, or return the logits only.",
    ):
        eq.consistency(lambda x: x, images)


def masked_psnr(f, x, shifts, border):
    """EQ-T by loops in float64: only pixels that came from a pixel, both clear of the border.

    `border` None: the shift is circular and every pixel counts.
    """
    y = f(x)
    size, squares = y.shape[1:3], []
    for shift in shifts:
        shifted = np.zeros_like(x)
        for i, j in np.ndindex(*size):
            from_i, from_j = i - shift[0], j - shift[1]
            if border is None:
                from_i, from_j = from_i % size[0], from_j % size[1]
            if 0 <= from_i < size[0] and 0 <= from_j < size[1]:
                shifted[:, i, j] = x[:, from_i, from_j]
        z = f(shifted)
        for i, j in np.ndindex(*size):
            pairs = [(i, i - shift[0], size[0], 0), (j, j - shift[1], size[1], 1)]
            if border is None:
                source = pairs[0][1] % size[0], pairs[1][1] % size[1]
                squares.append((y[:, *source] - z[:, i, j]) ** 2)
            elif all(
                border[a][0] <= k < n - border[a][1]
                for here, source, n, a in pairs
                for k in (here, source)
            ):
                squares.append((y[:, pairs[0][1], pairs[1][1]] - z[:, i, j]) ** 2)
    return 10 * np.log10((y.max() - y.min()) ** 2 / np.mean(squares))


def test_eq_t_is_the_psnr_over_valid_pixels():
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3))
    x[:, 0] += 9  # what the mask keeps out weighs much
    ramp = 1 + np.arange(7)[None, :, None, None] / 50 + np.arange(9)[None, None, :, None] / 90

    def f(x):  # works for both kinds of array; moves with its position, so it is not equivariant
        return x * ramp.astype(x.dtype)

    shifts = [[0, 0], [1, 2], [2, 0], [0, 3]]
    given = jnp.asarray(x, jnp.float32)
    line = eq.dense_consistency(f, given, action="interior", shifts=shifts, border=((1, 2), (2, 1)))
    circle = eq.dense_consistency(f, given, shifts=shifts)
    assert str(circle).startswith(
        "circular shift, 4 shifts from 0 to 3 pixels, against the unshifted where the law is "
        "known, 2 images, seed 0\nC_pixel "
    )
    masked = masked_psnr(f, x, shifts, ((1, 2), (2, 1)))
    everywhere = masked_psnr(f, x, shifts, None)
    np.testing.assert_allclose(line.eq_t, masked, atol=1e-3)
    np.testing.assert_allclose(circle.eq_t, everywhere, atol=1e-3)
    assert masked - everywhere > 6  # the two masks are told apart by far more than the tolerance
    assert eq.dense_consistency(lambda x: 2 * x, given, shifts=shifts).eq_t == np.inf


def test_protocols_draw_their_own_ranges():
    found = eq.consistency(lambda x: x.mean((1, 2)), X, protocol="aps-cifar", seed=1)
    assert found.range[0] >= -3
    assert found.range[1] <= 2
    assert str(found).startswith("protocol aps-cifar (circular, shifts -3 to 2), 2 shifts from -")
    lines = lambda x: jnp.stack([x[:, 0].sum((1, 2)), x[:, 4].sum((1, 2))], axis=-1)
    axes = eq.consistency(lines, X, protocol="lie-deriv")
    assert axes.shifts == 1 + 8 + 8  # k pixels along one axis, then along the other
    assert (axes.predictions[1 + 4] != axes.predictions[0]).all()  # the two lines change places
    assert (axes.predictions[9:] == axes.predictions[0]).all()
    with raises(
        ValueError,
        "consistency: crops of 224 at offsets up to 31 reach beyond an image of 8 pixels; expected "
        "at least 255. Got protocol='lpf-imagenet'. Use larger images, or "
        "protocol('lpf-imagenet')._replace(crop=..., high=...).",
    ):
        eq.consistency(lines, X, protocol="lpf-imagenet")
    half = eq.consistency(lines, X, protocol=eq.protocol("afc-adversarial-half")._replace(high=1))
    assert half.range == (0.0, 1.5)
    assert half.shifts == 1 + 2 * 2
    assert "shifts 0 to 1 and parts of 2), 5 shifts from 0 to 1.5 pixels" in str(half)
    names = ", ".join(f'"{name}"' for name in eq.PROTOCOLS)
    with raises(
        ValueError,
        f"protocol: name is unknown; expected one of {names}. Got name='mine'. "
        "Use name='lpf-imagenet', say.",
    ):
        eq.protocol("mine")
    assert {p.name: (p.low, p.high) for p in eq.PROTOCOLS.values()} == {
        "lpf-imagenet": (0, 31),
        "aps-cifar": (-3, 2),
        "aps-cifar-crop": (-3, 2),
        "aps-imagenet": (-32, 31),
        "lps-imagenet": (-32, 31),
        "lps-imagenet-crop": (0, 31),
        "lps-cifar": (-3, 2),
        "lps-cifar-crop": (-3, 2),
        "afc": (1, 31),
        "afc-fractional": (1, 31),
        "afc-adversarial": (1, 31),
        "afc-adversarial-half": (0, 30),
        "afc-adversarial-crop": (1, 64),
        "tips": (-3, 3),
        "tips-standard": (-3, 3),
        "lie-deriv": (0, 7),
    }
    with raises(
        ValueError,
        "consistency: action is unknown; expected one of \"circular\". Got action='mine'. "
        "Use action='circular', say.",
    ):
        eq.consistency(lambda x: x.mean((1, 2)), X, action="mine")


def test_lie_bars_in_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 6, 2)))
        exact = eq.lie_derivative(lambda x: conv(x, "wrap"), x)
        assert exact.relative <= 1e-10
        function = lambda x: conv(jnp.tanh(conv(x, "constant")), "wrap")
        found = eq.lie_derivative(function, x)
        assert found.relative > 0.1
        assert found.residue <= 1e-10
        pooled = lambda x: jnp.tanh(conv(x, "constant")).mean((1, 2))
        at = lambda t: pooled(eq.translation().move(x, jnp.array([t, t]), (1, 2)))
        step = 1e-5
        central = (at(-step) - at(step)) / (2 * step)
        lie = eq.lie_derivative(pooled, x).values[0]
        assert np.abs(lie + central).max() <= 1e-6 * np.abs(central).max()


class _Scripts(html.parser.HTMLParser):
    """Counts elements, and keeps what stands in them."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_page_holds_everything_and_no_name_becomes_markup(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"

    def function(x):
        with jax.named_scope(evil):
            x = conv(x, "constant")
        return x.mean((1, 2))

    path = tmp_path / "audit.html"
    eq.audit_page(eq.audit(function, X, lie=False), path)
    text = path.read_text("utf-8")
    parser = _Scripts()
    parser.feed(text)
    assert [tag for tag, _ in parser.tags].count("script") == 2
    assert [tag for tag, _ in parser.tags].count("img") == 0
    assert not any("src" in attrs or "href" in attrs for _, attrs in parser.tags)
    assert "http://" not in text
    assert "https://" not in text
    data = json.loads(next(t for t in parser.text if t.startswith("{")))
    assert evil in data["answer"]
    assert data["predictions"]["width"] == 8
    assert json.loads(page.embedded(evil)) == evil


def test_plots_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    found = eq.audit(lambda x: conv(x, "constant"), X, lie=False)
    eq.plot_errors(found).figure.savefig(tmp_path / "errors.png")
    eq.plot_maps(found)[0].figure.savefig(tmp_path / "maps.png")
    assert (tmp_path / "errors.png").stat().st_size > 1000


def test_plugin_writes_a_picture_of_a_failure(tmp_path):
    test = tmp_path / "test_inner.py"
    test.write_text(
        "import jax\n"
        "def test_it(assert_shift_equivariant):\n"
        "    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 1))\n"
        "    assert_shift_equivariant(lambda x: x[:, ::2, ::2], x)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    command += ["--equivariance-report", str(tmp_path / "report"), "--rootdir", str(tmp_path)]
    if not _installed():
        command[3:3] = ["-p", "jaxconv.equivariance._pytest_plugin"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    names = sorted(path.suffix for path in (tmp_path / "report").iterdir())
    assert names == [".png", ".txt"]


def _installed():
    from importlib.metadata import entry_points

    return any("jaxconv" in point.value for point in entry_points(group="pytest11"))
