"""The benchmarks run, say what they found, and their oracles notice what is wrong."""

import pathlib

import jax
import numpy as np
import pytest

from benchmarks import (
    _architectures,
    _cases,
    _draw,
    _options,
    _oracle,
    _report,
    _roofline,
    gpu,
    models,
    numbers,
    ops,
)
from benchmarks._timing import medians


@pytest.fixture(autouse=True)
def settings_are_left_as_they_were():
    """A command sets 64-bit types for its whole process, which here is that of other tests."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def test_operations_are_raced_and_written_down(tmp_path, capsys):
    few = ["--quick", "--only", "depthwise 3x3 4@6,max pool", "--repeats=1"]
    ops.main([*few, "--parts=race,table", f"--folder={tmp_path}"])
    page, printed = (tmp_path / "ops.md").read_text(), capsys.readouterr().out
    for case in ("depthwise 3x3 4@6 b2 | kernel gradient", "max pool 2x2 s2 3@6 b2 | forward"):
        assert f"| {case} |" in page
        assert f"{case}: ours" in printed
    assert "Is the table of formulations still right?" in page
    assert "--parts=race,table" in page
    assert "WRONG" not in page


def test_the_race_notices_wrong_values():
    case = _cases.TINY[0]
    assert ops.disagreement(np.ones(3), np.ones(3)) == 0
    assert ops.disagreement(np.ones(3), np.array([1, 1, 1.1])) > ops.TOLERANCE
    assert case.output == (2, 6, 5, 4)


@pytest.mark.peer("torch")
def test_torch_shares_the_shapes():
    from benchmarks._torch_ops import passes

    for case in _cases.TINY:
        runs = passes(case.as_dict())
        assert tuple(runs) == case.passes
        y = runs["forward"]()
        n, *spatial, features = case.output[1:] if case.kind == "vmap_conv" else case.output
        if case.kind == "vmap_conv":
            features *= case.x[0]
        assert tuple(y.shape) == (n, features, *spatial), case.name


def test_training_steps_are_raced_and_written_down(tmp_path, capsys):
    few = ["--quick", "--only=resnext", "--peers=jaxconv", "--repeats=1"]
    models.main([*few, f"--folder={tmp_path}"])
    assert "resnext: jaxconv" in capsys.readouterr().out
    assert "| resnext | 2×7×6×8 | 410 |" in (tmp_path / "models.md").read_text()


def test_frameworks_must_train_the_same_numbers():
    row = {"key": "resnet", "parameters": {"flax": 10, "torch": 11}}
    with pytest.raises(SystemExit, match="resnet differs between frameworks"):
        models.check_counts(row)


def test_shapes_of_architectures():
    shape = _architectures.shape_after(_architectures.NETWORKS["resnet18"].layers, (64, 64, 3))
    assert shape == (1000,)
    assert _architectures.NETWORKS["unet"].labels == (8, 64, 64)


def test_numbers_are_right_and_written_down(tmp_path, capsys):
    with jax.enable_x64(True):
        numbers.main(["--cases=20", "--together=20", f"--folder={tmp_path}"])
    assert "20 cases, 0 wrong" in capsys.readouterr().out
    assert "| all | 20 | 0 |" in (tmp_path / "numbers.md").read_text()


def test_wrong_numbers_are_noticed(monkeypatch, capsys):
    def slightly(case):
        return lambda x, *others: _draw.program(case)(1.001 * x, *others)

    monkeypatch.setattr(numbers, "program", slightly)
    with jax.enable_x64(True):
        rows = numbers.hunt(6, 4, 6, full=False)
    assert sum(row.get("wrong", 0) for row in rows) == 6
    assert "6 cases, 6 wrong" in capsys.readouterr().out


def test_the_oracle_is_the_formula(rng):
    for number in range(20):
        geometry = _draw.draw(7, number).geometry
        geometry = geometry._replace(modes=("zeros",) * len(geometry.window), spread=())
        where = _oracle.lookup(geometry)
        if where is None:
            continue
        x = rng.standard_normal((2, *geometry.spatial, 4))
        kernel = rng.standard_normal((*geometry.window, 2, 6))
        g = rng.standard_normal(_oracle.output_shape(where, 2, 6))
        y, dx, dk = _oracle.conv(x, kernel, g, where, 2)
        np.testing.assert_allclose(y, _oracle.by_loops(x, kernel, geometry, 2), atol=1e-12)
        # <y, g> is linear in x and in kernel: Euler's identity for both gradients
        np.testing.assert_allclose([(dx * x).sum(), (dk * kernel).sum()], (y * g).sum(), rtol=1e-9)


def test_roofline_is_the_slower_of_computing_and_moving():
    peaks = _roofline.Peaks(1e12, {"float32": 1e14}, "made up")
    assert _roofline.least_seconds(1e12, 1e9, peaks, "float32") == 1e-2  # computing
    assert _roofline.least_seconds(1e9, 1e12, peaks, "float32") == 1.0  # moving
    assert _roofline.fraction(0.02, 1e12, 1e9, peaks, "float32") == 0.5
    assert _roofline.known("NVIDIA H200").bandwidth == 4.8e12
    assert _roofline.known("NVIDIA A100-SXM4-80GB").flops["bfloat16"] == 312e12
    assert _roofline.known("cpu") is None


def test_cases_count_their_work():
    case = next(case for case in _cases.CASES if case.name == "depthwise 3x3 256@28 b8")
    assert case.flops == 2 * 8 * 28 * 28 * 256 * 9
    assert case.bytes("forward") == 4 * (2 * 8 * 28 * 28 * 256 + 9 * 256)
    up = next(case for case in _cases.CASES if case.name == "transposed 2x2 s2 128-64@28 b8")
    assert up.flops == 2 * 8 * 28 * 28 * 4 * 128 * 64
    assert up.output == (8, 56, 56, 64)


def test_without_an_accelerator_gpu_says_so(capsys):
    with pytest.raises(SystemExit) as stop:
        gpu.main([])
    assert stop.value.code == 2
    expected = "benchmarks gpu: no accelerator, JAX sees only the CPU"
    assert capsys.readouterr().out.startswith(expected)


def test_gpu_runs_its_commands_on_the_cpu_too(tmp_path, capsys):
    few = ["--on-cpu", "--quick", "--only=avg", "--batch=1", "--repeats=1", "--no-models"]
    gpu.main([*few, "--size=64", "--copy=1", f"--folder={tmp_path}"])
    page = (tmp_path / "gpu.md").read_text()
    assert "| avg pool 3x3 s2 3@6 b2 | input gradient | bfloat16 |" in page
    assert "% of roof" in capsys.readouterr().out


def test_medians_take_turns():
    order = []
    runs = {name: lambda name=name: order.append(name) for name in "ab"}
    found = medians(runs, repeats=2)
    assert set(found) == {"a", "b"}
    assert min(found.values()) >= 0
    turns = "".join(order)[-40:]
    assert turns == "a" * 10 + "b" * 10 + "a" * 10 + "b" * 10
    assert medians(runs, repeats=0) == {}


def test_a_row_replaces_the_one_of_its_key(tmp_path):
    _report.keep("x", [{"key": "a", "v": 1}, {"key": "b", "v": 2}], [], tmp_path)
    rows = _report.keep("x", [{"key": "a", "v": 3}], ["--only", "a"], tmp_path)
    assert [(row["key"], row["v"]) for row in rows] == [("a", 3), ("b", 2)]
    assert rows[0]["command"] == "python -m benchmarks x --only a"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], _report.RESULTS),
        (["--tune-malloc"], _report.RESULTS / "tuned"),
        (["--tune-malloc", "--folder=here"], pathlib.Path("here")),
    ],
)
def test_results_with_memory_kept_go_apart(given, expected):
    parser = _options.parser("x", "")
    _options.add_folder(parser, tune_malloc=True)
    assert _options.folder(parser.parse_args(given)) == expected


def test_memory_is_kept_only_where_that_is_an_option(capsys):
    parser = _options.parser("x", "")
    _options.add_folder(parser)
    assert _options.folder(parser.parse_args([])) == _report.RESULTS
    with pytest.raises(SystemExit):
        parser.parse_args(["--tune-malloc"])
    assert "unrecognized arguments: --tune-malloc" in capsys.readouterr().err
