"""What `import jaxconv` brings with it: JAX, NumPy and nothing that has an extra."""

import json
import subprocess
import sys

EXTRAS = (
    *("optax", "matplotlib", "sklearn", "PIL", "tqdm", "safetensors", "orbax", "scipy"),
    *("torch", "flax", "equinox", "haiku", "keras", "chex"),
)
LAZY = tuple(
    f"jaxconv.{part}" for part in ("train", "plots", "equivariance", "models", "_summary", "doctor")
)

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("error")
import jax
before = set(sys.modules)
import jaxconv
print(json.dumps([sorted(set(sys.modules) - before), sorted(before)]))
"""


def _modules():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_imports_no_extra_and_no_lazy_part():
    new, before = _modules()
    assert "jaxconv.compose" in new
    # jax itself imports some of scipy
    heavy = [name for name in new if name.split(".")[0] in EXTRAS and name not in before]
    assert heavy == []
    assert [name for name in new if name.startswith(LAZY)] == []
    ours = [name for name in new if name.startswith("jaxconv")]
    others = {name.split(".")[0] for name in new} - {"jaxconv", "jax", "jaxlib"}
    assert others <= set(sys.stdlib_module_names), sorted(others)
    assert len(ours) < 150


def test_parts_are_loaded_when_first_asked_for():
    done = subprocess.run([sys.executable, "-c", ON_DEMAND], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "True", "True", "True"]


ON_DEMAND = """
import sys
import jaxconv as jc
print("jaxconv.models" in sys.modules)
print(jc.models.resnet.__module__ == "jaxconv.models.resnet")
print({"models", "equivariance", "summary", "conv", "serial"} <= set(dir(jc)))
try:
    jc.convolve
except AttributeError as error:
    print("'jaxconv' has no attribute 'convolve'" in str(error))
"""
