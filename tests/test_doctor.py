"""The canaries: what this jaxlib gets wrong, that this library does not, and how both are told."""

import functools
import importlib.metadata
import json
import os
import subprocess
import sys

import helpers
import jax
import numpy as np
import pytest
import reference_conv

from jaxconv import __main__ as command_line
from jaxconv import doctor
from jaxconv.doctor import (
    CANARIES,
    KNOWN,
    Diagnosis,
    Finding,
    _diagnose,
    _facts,
    _oracle,
    _programs,
)

VERSION = importlib.metadata.version("jaxlib")
PLAIN = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAXCONV_PRIMITIVES")}
BY_NAME = {canary.name: canary for canary in CANARIES}


@functools.cache
def _diagnosis():
    return doctor.diagnose(environment=PLAIN, seconds=900)  # machines that run tests are busy


def check_recorded(version, found):
    """What canaries say of plain JAX must be what is recorded for this version of jaxlib."""
    assert version in KNOWN, (
        f"jaxlib {version} is not in jaxconv/doctor/_known.py; expected the verdicts of every "
        f"version that the tests run on. Read `python -m jaxconv doctor`, then record "
        f'"{version}": {found}.'
    )
    changed = {name: (KNOWN[version].get(name), verdict) for name, verdict in found.items()}
    changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
    assert not changed, f"verdicts of jaxlib {version} changed, (recorded, now): {changed}"


# --- this installation --------------------------------------------------------------------------


def test_verdicts_are_those_recorded_for_this_jaxlib():
    assert _diagnosis().failure is None
    assert _diagnosis().facts["platform"] == "cpu"
    verdicts = {f.canary.name: f.xla for f in _diagnosis().findings}
    check_recorded(VERSION, {k: v for k, v in verdicts.items() if v != "not applicable"})


@pytest.mark.parametrize("name", BY_NAME)
def test_our_operations_are_right(name):
    (finding,) = (f for f in _diagnosis().findings if f.canary.name == name)
    assert finding.own == "right", finding.details


def test_flags_cure_what_they_should():
    cured = {f.canary.name: f.cured for f in _diagnosis().findings if f.cured is not None}
    sick = {f.canary.name for f in _diagnosis().findings if f.xla != "right" and f.canary.flag}
    assert cured == dict.fromkeys(sick, "right")


def test_unrecorded_and_changed_verdicts_are_noticed():
    with pytest.raises(AssertionError, match=r'record "99.0": {\'rows\': \'right\'}'):
        check_recorded("99.0", {"rows": "right"})
    with pytest.raises(AssertionError, match=r"{'rows': \('wrong', 'right'\)}"):
        check_recorded("0.10.2", KNOWN["0.10.2"] | {"rows": "right"})
    check_recorded("0.10.2", KNOWN["0.10.2"])


# --- the programs -------------------------------------------------------------------------------

ENDS = ("rank_7/xla", "dilated_gradient/xla")  # the process that runs them
SAFE = [name for name in _programs.PROGRAMS if name not in (*ENDS, "options/own")]


def _slightly_off(f, **options):
    """Compiles f; what it returns is off by a thousandth, or not a NaN where it was one."""
    compiled = helpers.quick_jit(f)
    return lambda *args: jax.tree.map(lambda y: np.nan_to_num(y * 1.001), compiled(*args))


@pytest.mark.parametrize("name", SAFE)
def test_programs_notice_wrong_numbers(name):
    assert _programs.PROGRAMS[name](_slightly_off) > _programs.LIMIT


def test_oracle_agrees_with_the_reference(rng):
    x, kernel = rng.normal(size=(2, 7, 9, 6)), rng.normal(size=(3, 2, 3, 4))
    pads, stride = ((4, 1), (-1, 2)), (2, 3)
    options = {"stride": stride, "pads": pads, "modes": ("zeros",) * 2, "dilation": (1, 1)}
    conv = functools.partial(reference_conv.conv, groups=2, **options)
    y = conv(x, kernel)
    g, step = rng.normal(size=y.shape), 1e-6
    answer = _oracle.convolution(x, kernel, g, pads, stride)
    assert _oracle.error(answer.y, y) < 1e-12
    for value, gradient in (("x", answer.x), ("kernel", answer.kernel)):
        start = {"x": x, "kernel": kernel}
        direction = rng.normal(size=start[value].shape)
        ends = []
        for sign in (1, -1):
            moved = start | {value: start[value] + sign * step * direction}
            ends.append((conv(**moved) * g).sum())
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-7)


@pytest.mark.parametrize(
    ("actual", "error"),
    [
        ([2.0, np.nan], 0.0),
        ([2.0, 0.0], np.inf),
        ([np.nan, np.nan], np.inf),
        ([np.inf, np.nan], np.inf),
        ([1.0, np.nan], 0.5),
        ([2.0], np.inf),
    ],
)
def test_errors(actual, error):
    assert _oracle.error(actual, np.array([2.0, np.nan])) == error


# --- processes ----------------------------------------------------------------------------------


def _scripted(monkeypatch, *processes):
    """Processes that write these lines and end so, in turn; returns what they were asked to run."""
    asked = []

    def process(names, environment, seconds):
        asked.append((list(names), environment.get("XLA_FLAGS")))
        lines, end = processes[len(asked) - 1]
        return [{"facts": {"platform": "cpu"}}, *lines], end

    monkeypatch.setattr(_diagnose, "_process", process)
    return asked


def _ended(name, error=0.0, *, right=True):
    return [{"begin": name}, {"end": name, "error": error, "right": right}]


def test_a_crash_condemns_one_program_and_the_rest_go_on(monkeypatch):
    asked = _scripted(
        monkeypatch,
        ([*_ended("ties/xla"), {"begin": "rank_7/xla"}], "signal 11"),
        (_ended("ties/own", 0.5, right=False) + _ended("rank_7/own", None), "exit status 0"),
        (_ended("rank_7/xla"), "exit status 0"),
    )
    canaries = [BY_NAME["ties"], BY_NAME["rank_7"]]
    found = doctor.diagnose(canaries=canaries, environment={"XLA_FLAGS": "--a=1"})
    assert found.findings == (
        Finding(canaries[0], "right", "wrong", None, ("relative error 5.0e-01",)),
        Finding(canaries[1], "crashed", "not applicable", "right", ("signal 11",)),
    )
    flags = [flag for _, flag in asked]
    assert flags == ["--a=1", "--a=1", f"--a=1 {canaries[1].flag}"]
    assert asked[1][0] == ["ties/own", "rank_7/own"]
    assert not found.own_trusted
    assert not found.trusted


def test_an_exception_is_a_wrong_result(monkeypatch):
    name = "ties/xla"
    lines = [{"begin": name}, {"end": name, "raised": "XlaRuntimeError: no"}, *_ended("ties/own")]
    _scripted(monkeypatch, (lines, "exit status 0"))
    (finding,) = doctor.diagnose(canaries=[BY_NAME["ties"]]).findings
    assert finding == Finding(BY_NAME["ties"], "wrong", "right", None, ("XlaRuntimeError: no",))


def test_a_backend_that_does_not_start_is_a_failure():
    unknown = PLAIN | {"XLA_FLAGS": "--xla_there_is_no_such_flag=1"}
    found = doctor.diagnose(canaries=[BY_NAME["ties"]], environment=unknown)
    assert "xla_there_is_no_such_flag" in found.failure
    assert not found.trusted
    assert not found.own_trusted
    assert "JAX does not start here" in doctor.report(found)


def test_time_is_bounded():
    found = doctor.diagnose(canaries=[BY_NAME["ties"]], environment=PLAIN, seconds=0.05)
    assert found.failure == "no answer in 0.05 seconds"


# --- what is told -------------------------------------------------------------------------------


def _made(xla, own, cured=None, details=()):
    facts = {"platform": "cpu", "devices": ["cpu", "cpu"], "primitives": "on"}
    names = ("nan", "negative_padding")
    findings = [
        Finding(BY_NAME[name], *verdicts, details)
        for name, *verdicts in zip(names, xla, own, (cured, None), strict=True)
    ]
    return Diagnosis(facts, tuple(findings))


def test_report_of_a_sound_installation():
    text = doctor.report(_made(("right", "not applicable"), ("right", "right")), environment={})
    head, *rest = text.split("\n\n")
    assert "devices             2 x cpu\n" in head
    assert "XLA_FLAGS           not set\n" in head
    assert rest == [
        "Measured now, against NumPy in 64-bit floating point:",
        "canary            what is computed                         plain JAX  jaxconv\n"
        "nan               NaN in a maximum or a max pool           right      right\n"
        "negative_padding  convolution with a negative low padding  -          right",
        "This installation can be trusted: all 2 canaries are right, in plain JAX and in\n"
        "jaxconv's own operations.",
    ]


def test_report_of_faults_says_what_is_at_stake_and_the_cure():
    found = _made(("wrong", "crashed"), ("right", "right"), "right", ("relative error inf",))
    *_, flag, program, verdict = doctor.report(found, environment={}).split("\n\n")
    assert flag.splitlines() == [
        "nan  A diverged network looks healthy: jnp.max, x.max(axis) and",
        "     lax.reduce_window return finite numbers although a NaN is among their",
        "     values, and jax_debug_nans stays silent. [relative error inf]",
        "The cure, tried here, all right with it:",
        '  export XLA_FLAGS="$XLA_FLAGS --xla_cpu_experimental_ynn_fusion_type=-reduce"',
    ]
    assert program.splitlines()[-1] == (
        "  f = jaxconv.fast(f)    # f holds the convolutions; then differentiate it"
    )
    assert " ".join(verdict.split()) == (
        "Plain JAX cannot be trusted on this installation: it fails 2 of 2 canaries (nan, "
        "negative_padding). jaxconv's own operations are right in all of them. The flag above "
        "mends all but negative_padding."
    )
    still = doctor.report(_made(("wrong", "right"), ("right", "right"), "wrong"), environment={})
    assert "The cure, tried here, which does not mend nan:\n" in still


def test_report_of_our_own_fault():
    text = doctor.report(_made(("right", "right"), ("right", "wrong")), environment={})
    assert " ".join(text.split("\n\n")[-1].split()) == (
        "This installation cannot be trusted: jaxconv's own operations fail 1 of 2 canaries "
        "(negative_padding). Please report this."
    )


@pytest.mark.parametrize("width", [80, 100])
def test_lines_fit_the_terminal(width):
    lines = doctor.report(_diagnosis(), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) > 20


@pytest.mark.parametrize(
    ("xla", "own", "options", "status"),
    [
        ("right", "right", [], 0),
        ("wrong", "right", [], 1),
        ("wrong", "right", ["--own"], 0),
        ("right", "wrong", ["--own"], 1),
        ("right", "wrong", ["--json"], 1),
    ],
)
def test_exit_status(monkeypatch, capsys, xla, own, options, status):
    monkeypatch.setattr(doctor, "diagnose", lambda: _made((xla, "right"), (own, "right")))
    assert command_line.main(["doctor", *options]) == status
    printed = capsys.readouterr().out
    if "--json" in options:
        assert json.loads(printed)["findings"][0]["jaxconv"] == own
    else:
        assert printed.startswith("jaxconv ")


def test_the_module_is_a_command():
    command = [sys.executable, "-m", "jaxconv", "doctor", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: python -m jaxconv doctor" in done.stdout


# --- who may write to the cache -----------------------------------------------------------------


def test_a_cache_that_others_can_write_to_is_told(tmp_path):
    folder = tmp_path / "above" / "cache"
    folder.mkdir(parents=True)
    for path, mode in ((tmp_path, 0o755), (folder.parent, 0o755), (folder, 0o700)):
        path.chmod(mode)
    assert _facts.cache(None) == "none"
    assert _facts.cache(str(folder)) == f"{folder}, only yours to write"
    folder.parent.chmod(0o1777)  # sticky: nobody replaces the folder of another
    assert _facts.open_folder(folder) is None
    folder.parent.chmod(0o777)
    assert _facts.open_folder(folder) == folder.parent
    folder.chmod(0o1777)
    told = f"{folder}, AND OTHERS CAN WRITE TO {folder}: chmod go-w {folder}"
    assert _facts.cache(str(folder)) == told
