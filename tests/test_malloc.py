"""Tuned, the memory of a step is faulted in once and not at every call."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
import jaxconv as jc
if sys.argv[1] == "tuned":
    assert jc.tune_malloc() is True
step = jax.jit(lambda x: 2 * x)  # 64 MiB that are freed at once
x = jnp.ones((4096, 4096)).block_until_ready()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
calls = []
for _ in range(16):
    before = faults()
    step(x).block_until_ready()
    calls.append(faults() - before)
print(min(calls))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_is_kept():
    faults = {}
    for mode in ("tuned", "untuned"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        faults[mode] = int(done.stdout)
    assert faults["untuned"] > 10_000, faults  # the control: 64 MiB are 16,384 pages
    assert faults["tuned"] < faults["untuned"] / 10, faults


def test_other_libraries_are_left_alone(monkeypatch):
    import jaxconv as jc

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert jc.tune_malloc() is False
