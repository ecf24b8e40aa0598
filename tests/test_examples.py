"""Every example runs, small, and the numbers that it returns say what its story says."""

import importlib.util
import pathlib

import jax
import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def load(name):
    """The module of an example, from its file: examples are scripts, not a package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def as_users_run_it():
    """JAX's own promotion rules, which is what a user has."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_every_example_is_tested():
    text = pathlib.Path(__file__).read_text()
    missing = [path.stem for path in EXAMPLES.glob("*.py") if f'load("{path.stem}")' not in text]
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


def test_train_digits(tmp_path):
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


def test_depthwise(tmp_path):
    metrics = load("depthwise").main(epochs=1, widths=(4,), out=tmp_path)
    assert metrics["difference_from_product"] < 1e-5
    assert list(tmp_path.glob("*.png"))


def test_locality_fails(tmp_path):
    networks = ("conv, circular", "dense")
    load("locality_fails").main(epochs=1, copies=1, networks=networks, out=tmp_path)
    assert list(tmp_path.glob("*.png"))


@pytest.mark.slow  # two audits of a 20-layer network: minutes of compilation on two cores
def test_audit_resnet(tmp_path):
    load("audit_resnet").main(depth=20, size=16, out=str(tmp_path))


@pytest.mark.slow
@pytest.mark.peer("flax")
def test_audit_flax(tmp_path):
    load("audit_flax").main(size=16, out=str(tmp_path))
