"""How long a user waits before anything happens: import, initialization, the first step.

Each figure is the median over fresh processes: nothing is warm, nothing is cached.
"""

import statistics
import subprocess
import sys

from benchmarks import _machine, _options

IMPORT = """
import time
import jax
start = time.perf_counter()
import jaxconv
print(time.perf_counter() - start)
"""

INIT = """
import time
import jax, jax.numpy as jnp, jaxconv as jc
key = jax.block_until_ready(jax.random.key(0))
start = time.perf_counter()
model = jc.models.resnet(50)
x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
jax.block_until_ready(model.init(key, x))
print(time.perf_counter() - start)
"""

FIRST_STEP = """
import time
start = time.perf_counter()
import runpy
import tempfile
from jaxconv.train import _journal

def stop(*arguments):
    print(time.perf_counter() - start)
    raise SystemExit

_journal.Journal.step = stop
with tempfile.TemporaryDirectory() as folder:
    main = runpy.run_path("examples/train_digits.py")["main"]
    main(out=folder, progress=False)
"""

MEASUREMENTS = {
    "import jaxconv, beyond import jax": (IMPORT, 0.05),
    "resnet(50): init, first call": (INIT, 3.0),
    "train_digits.py: start to the end of the first step": (FIRST_STEP, 15.0),
}


def fresh(code: str) -> float:
    """Seconds that `code` prints last, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main(argv: list[str]) -> None:
    parser = _options.parser("startup", __doc__, wrap=True)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args(argv).repeats
    print(_machine.describe() + "\n")
    rows = []
    for name, (code, bar) in MEASUREMENTS.items():
        seconds = statistics.median(fresh(code) for _ in range(repeats))
        rows.append((name, f"{seconds:.3f} s", f"{bar:g} s", "yes" if seconds <= bar else "no"))
    print(_machine.table(("what", "median", "bar", "met"), rows))
