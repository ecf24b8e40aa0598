"""Strict settings for every test, quick compilation, and skips that say why."""

import importlib.util
import os

import jax
import numpy as np
import pytest

# A test compiles much and computes little, so LLVM's optimizer is off and the older emitters of
# fused loops are used: a suite of 680 s of processor time takes less than half. XLA's own passes,
# which rewrite the program, all run. `XLA_FLAGS= pytest` compiles as users do; CI compares with
# PyTorch that way. Read by XLA when it first compiles.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)
os.environ.setdefault("XLA_FLAGS", QUICK)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption(
        "--require-peers", action="store_true", help="fail, not skip, when a peer is missing"
    )


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        for marker in item.iter_markers("peer"):
            missing = [name for name in marker.args if importlib.util.find_spec(name) is None]
            if missing and not config.getoption("--require-peers"):
                reason = f"needs {', '.join(missing)}: pip install -e '.[peers]'"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def key():
    """A fixed random key."""
    return jax.random.key(0)


@pytest.fixture
def rng():
    """A fixed NumPy generator: oracles and inputs come from NumPy, not from JAX."""
    return np.random.default_rng(0)
