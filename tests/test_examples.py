"""Every example runs, small, and the numbers that it returns say what its story says."""

import importlib.util
import itertools
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import jaxconv as jc
from jaxconv.train import data

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def load(name):
    """The module of an example, from its file: examples are scripts, not a package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def as_users_run_it(monkeypatch):
    """JAX's own promotion rules, and a script's own folder to import from."""
    monkeypatch.syspath_prepend(EXAMPLES)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_every_example_is_tested():
    text = pathlib.Path(__file__).read_text()
    missing = [
        path.stem for path in EXAMPLES.glob("[!_]*.py") if f'load("{path.stem}")' not in text
    ]
    assert not missing, f"examples without a test: {missing}"


def test_dense_to_conv():
    metrics = load("dense_to_conv").main(size=12)
    for equal in ("restricted_vs_local", "shared_local_vs_conv", "shared_dense_vs_conv"):
        assert metrics[equal] < 1e-5
    for different in ("dense_vs_local", "local_vs_conv", "shift_error_dense", "shift_error_local"):
        assert metrics[different] > 0.1
    assert metrics["shift_error_conv"] < 1e-5
    assert metrics["parameters: dense, 1,000 neurons"] == 3_000_001_000
    assert metrics["parameters: conv 5x5, one map"] == 5 * 5 * 3 + 1


def test_shift(tmp_path):
    metrics = load("shift").main(size=32, out=tmp_path)
    assert metrics["conv_circular"] == 0
    assert metrics["conv_zeros"] > 0.1
    assert metrics["conv_zeros_interior"] == 0
    assert metrics["max_pool_2_shift_2"] == metrics["max_pool_4_shift_4"] == 0
    assert metrics["max_pool_2_shift_1"] > 0.1
    assert metrics["invariance_stride_1"] < 1e-6 < metrics["invariance_stride_4"]
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_train_digits(tmp_path, monkeypatch):
    whole = data.digits()
    few = whole._replace(test_images=whole.test_images[::6], test_labels=whole.test_labels[::6])
    monkeypatch.setattr(data, "digits", lambda: few)  # each of which is classified at 64 shifts
    metrics = load("train_digits").main(epochs=1, out=tmp_path / "run", progress=False)
    assert metrics["accuracy"] > 0.5  # one of twenty epochs; guessing gives 0.1
    assert 0 <= metrics["survivors"] <= metrics["accuracy"] + 1
    assert metrics["shift_errors"]["stem"] < 1e-5  # a convolution on a circle
    assert metrics["shift_errors"]["pool"] > 1e-3  # a stride obeys only some shifts
    run = pathlib.Path(metrics["run"])
    for name in ("config.json", "metrics.jsonl", "params.safetensors"):
        assert (run / name).exists()
    assert len(list(run.glob("*.png"))) >= 6


def test_train_says_where_a_network_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match="the output is empty"):  # LeNet wants 28 pixels, not 8
        load("train").main(data_name="digits", epochs=1, out=tmp_path / "run", progress=False)


def test_train_on_a_folder_of_images(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 3)):
        for label, name in enumerate(("dark", "light")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(120 * label, 120 * label + 130, (28, 28, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    metrics = load("train").main(
        data_name="folder", data_dir=str(tmp_path / "images"), epochs=4, batch_size=8, limit=20,
        shift_images=0, out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert metrics["history"][-1]["loss"] < metrics["history"][0]["loss"]
    run = pathlib.Path(metrics["run"])
    config = json.loads((run / "config.json").read_text())["config"]
    assert (config["model"], config["limit"], len(config["data_sha256"])) == ("lenet", 20, 64)
    assert {path.stem for path in run.glob("*.png")} == {
        "curves", "confusion", "filters", "mistakes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "lent"], "argument --model: invalid choice: 'lent' (choose from"),
        (["--data", "folder"], "expected a folder with train/ and test/. Got data_dir=None."),
        (["--data-dir", "nowhere"], "Pass download=True to fetch them."),
    ],
)
def test_train_refuses_in_words(options, said):
    command = [sys.executable, str(EXAMPLES / "train.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_depthwise(tmp_path):
    metrics = load("depthwise").main(epochs=1, widths=(4,), out=tmp_path)
    assert metrics["difference_from_product"] < 1e-5
    for cost in ("parameters", "multiply_adds"):
        assert 0 < metrics[f"{cost}: separable 4"] < metrics[f"{cost}: full 4"] / 2
    assert list(tmp_path.glob("*.png"))


def test_locality_fails(tmp_path):
    networks = ("conv, circular", "dense")
    metrics = load("locality_fails").main(epochs=1, copies=1, networks=networks, out=tmp_path)
    assert metrics["change: conv, circular"] < 1e-5  # one answer for all places
    assert metrics["where: conv, circular"] < 0.4  # so chance, 0.25 of 359 digits
    assert metrics["change: dense"] > 0.1
    assert metrics["where: dense"] > 0.4
    assert list(tmp_path.glob("*.png"))


@pytest.mark.slow  # three audits of a 20-layer network: minutes of compilation on two cores
def test_audit_resnet(tmp_path):
    metrics = load("audit_resnet").main(depth=20, size=16, out=str(tmp_path))
    assert min(metrics["published_every"], metrics["published_whole_strides"]) > 1e-3
    assert metrics["circular_every"] > 1e-3
    assert max(metrics["circular_whole_strides"], metrics["mended_every"]) < 1e-5
    assert metrics["mended_c_all"] == 1.0
    assert len(list(tmp_path.glob("*.html"))) == 3


@pytest.mark.slow
@pytest.mark.peer("flax")
def test_audit_flax(tmp_path):
    load("audit_flax").main(size=16, out=str(tmp_path))


def test_audit_flax_without_flax_says_what_to_install(monkeypatch):
    example = load("audit_flax")
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(SystemExit) as stopped:
        example.main(size=16)
    assert stopped.value.code == (
        "audit_flax: flax is not installed; expected the extra [peers]. "
        "Got no module 'flax.linen'. Run: pip install 'jaxconv[peers]'."
    )


def test_shift_equivariance_denoising(tmp_path):
    """One network, small: shifts and exposures are exact; parts of a pixel and crops are not."""
    example = load("shift_equivariance_denoising")
    example.SIZE, example.FEATURES = 16, (4, 6)
    results = example.main(steps=3, images=2, networks=["polyphase, affine"], out=tmp_path)
    (row,) = results.values()
    assert max(row["circular_worst"], row["exposure_worst"]) <= 1e-5
    assert min(row["crop_mean"], row["translation_worst"]) > 1e-2
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert "½ pixel" in (tmp_path / "table.md").read_text()


def test_shift_invariance_cifar(tmp_path, monkeypatch):
    """The whole experiment on small models; and every variant of it builds."""
    example = load("shift_invariance_cifar")
    rng = np.random.default_rng(0)
    for split, label, number in itertools.product(("train", "test"), range(10), range(4)):
        folder = tmp_path / "images" / split / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(12 * label, 12 * label + 130, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    recipe = example.Recipe(
        limit_per_class=4, epochs=2, batch_size=8, images=2, crop_images=4, test_images=20
    )
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32)
    real = example.variants(recipe)
    parameters = {
        name: sum(leaf.size for leaf in jax.tree.leaves(_init(make(), x)[0]))
        for name, make in real.items()
    }
    assert len(real) == 9
    assert {name for name, count in parameters.items() if count != 269_722} == {
        "learned polyphase", "alias-free",
    }  # fmt: skip

    def small(down):
        conv = jc.conv(4, 3, padding_mode="circular")
        return lambda: jc.serial(conv, jax.nn.relu, down, jc.global_avg_pool(), jc.dense(10))

    few = {"circular": small(jc.max_pool(1, stride=4)), "polyphase": small(jc.polyphase_down(4))}
    monkeypatch.setattr(example, "variants", lambda recipe: few)
    run = {
        "data_name": "folder",
        "data_dir": str(tmp_path / "images"),
        "recipe": recipe,
        "seeds": 1,
    }
    page = tmp_path / "page.md"
    found = example.main(**run, rounds=1, out=tmp_path / "out", page=page)
    strided, exact = (found["results"][name] for name in few)
    assert [result["c_all"] for result in exact] == [1.0]
    assert all(result["eps_inf"] < 1e-5 for result in exact)
    assert all(result["eps_inf"] > 1e-3 for result in strided)
    assert found["times"].keys() == few.keys()
    words = page.read_text()
    assert "| polyphase |" in words
    assert "statement about circular shifts" in words
    assert page.with_suffix(".png").exists()
    again = lambda *measured: pytest.fail("what is stored was measured again")
    monkeypatch.setattr(example, "scores", again)
    assert example.main(**run, rounds=1, out=tmp_path / "out", page=page) == found


def _init(model, x):
    return jax.eval_shape(model.init, jax.random.key(0), x)


def test_every_shift(tmp_path, monkeypatch):
    """Sampled by its content no image flips, with strides some do; a second run asks nothing."""
    example = load("every_shift")
    rng = np.random.default_rng(0)
    images = lambda count: rng.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
    few = data.Dataset(images(100), np.arange(100) % 10, images(4), np.arange(4), (), "digits")
    monkeypatch.setattr(example.data, "mnist", lambda folder: few)
    run = {"data_dir": "unused", "images": 4, "block": 2, "out": tmp_path}
    exact = example.main(**run)
    assert (exact.images, exact.shifts, exact.flips, exact.ties) == (4, 1024, 0, 0)
    assert exact.change < 1e-5
    assert exact.safety > 1 > exact.lead > 0
    strided = example.main(**run, strides=True)
    assert strided.change > 1e-3
    assert strided.safety < exact.safety
    again = lambda *given: pytest.fail("what is stored was asked again")
    monkeypatch.setattr(example, "ask", again)
    assert example.main(**run) == exact


def test_every_shift_counts_as_loops_do():
    """Of three images the second flips once, in a tie, and the third flips twice."""
    example = load("every_shift")
    logits = np.array([
        [[3, 1, 0], [1, 5, 0], [2, 0, 4]],
        [[3, 1, 0.5], [5, 5, 0], [2, 0, 1]],
        [[2.5, 1, 0], [1, 5, 0], [2, 6, 4]],
    ])  # fmt: skip
    found = example.summary(logits, np.array([0, 1, 1]))
    assert found == example.Asked(
        images=3, shifts=3, correct=2, flips=3, flipped=2, ties=1, lead=0.0, change=1.0, safety=0.0
    )
    alone = example.summary(logits[:, :1], np.array([2]))
    assert alone == example.Asked(
        images=1, shifts=3, correct=0, flips=0, flipped=0, ties=0, lead=1.5, change=1 / 6,
        safety=1.5,
    )  # fmt: skip
    both = example.total([found, alone])
    assert (both.images, both.shifts, both.flips, both.lead) == (4, 3, 3, 0.0)
    assert "C_all 50.00%, 3 flips, 1 ties" in example.describe(both)
