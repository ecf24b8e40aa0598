"""What measuring equivariance costs: every shift of CIFAR-sized images, and an audit of ResNet-50.

The audit is compared with `jax.jit` of the same network on the same image, in turns in one process:
by the clock, and by processor time, which other work on the machine disturbs less. Its first call
compiles. Tracing and reading how every value should move are counted apart: they depend on the
program only. Memory is by how much the largest resident size grows in one call, when all is
compiled and free memory was returned, plus the parameters, which both hold. Once as processes
are, and once with `jaxconv.tune_malloc()`, which keeps pages that were touched before.
"""

import subprocess
import sys

from benchmarks import _machine, _options

FORWARD_BAR, MEMORY_BAR, SHIFT_BAR = 6.0, 3.0, 180.0


NETWORK = """
import sys, time
import jax, jax.numpy as jnp
import jaxconv as jc

def network(depth, size, images, **options):
    x = jax.random.normal(jax.random.key(0), (images, size, size, 3))
    model = jc.models.resnet(depth, **options)
    params, state = model.init(jax.random.key(1), x)
    logits = jax.jit(lambda x: model.apply(params, state, x)[0])
    # less the mean of several, else an untrained network names one class always
    middle = logits(x).mean(0, keepdims=True) if images > 1 else jnp.zeros(())
    return x, params, lambda x: model.apply(params, state, x)[0] - middle

def adaptive(stride):
    def sample(x):
        n, h, w, c = x.shape
        split = x.reshape(n, h // stride, stride, w // stride, stride, c)
        phases = split.transpose(0, 2, 4, 1, 3, 5).reshape(n, -1, h // stride, w // stride, c)
        best = jnp.argmax((phases**2).sum((2, 3, 4)), axis=1)
        return jnp.take_along_axis(phases, best[:, None, None, None, None], axis=1)[:, 0]
    return sample
"""

SHIFTS = """
from jaxconv.equivariance import consistency
options = {"padding_mode": "circular", "down": adaptive} if sys.argv[1] == "mended" else {}
x, _, f = network(20, 32, int(sys.argv[2]), **options)
start = time.perf_counter()
found = consistency(f, x)
print(time.perf_counter() - start, found.c_all)
print(found)
"""

COST = """
import ctypes, resource, statistics
if sys.argv[1] == "tuned":
    assert jc.tune_malloc()
from jaxconv.equivariance import _jaxpr, _laws
from jaxconv.equivariance import audit
x, params, f = network(50, 224, int(sys.argv[2]))
forward = jax.jit(f)

def seconds(*runs, repeats=9):
    # medians of runs that take turns: by the clock, and of the processor
    found = [[] for _ in runs]
    for turn in range(repeats + 1):
        for run, times in zip(runs, found):
            clock, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            times.append((time.perf_counter() - clock, time.process_time() - processor))
    return [[statistics.median(t) for t in zip(*times[1:])] for times in found]

def status(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) * 1024

def growth(run):
    jax.block_until_ready([run(), run()])
    ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")  # the largest size so far is forgotten
    before = status("VmRSS")
    jax.block_until_ready(run())
    return status("VmHWM") - before

start = time.perf_counter()
audit(f, x)
print(time.perf_counter() - start)
read = lambda: _laws.laws_of(_jaxpr.trace(f, x), [(1, 2)]) and 0
runs = lambda: forward(x), lambda: audit(f, x) and 0
for pair in seconds(*runs, read):
    print(*pair)
print(sum(leaf.nbytes for leaf in jax.tree.leaves(params)), *map(growth, runs))
"""

CHUNKS = """
import ctypes
from jaxconv.equivariance import shift_error
x, _, f = network(20, 32, 4)
limit = {"shifts": int(sys.argv[2])}

def status(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) / 1024

def run():
    return shift_error(f, x, chunk=int(sys.argv[1]), **limit)

run()
ctypes.CDLL(None).malloc_trim(0)
open("/proc/self/clear_refs", "w").write("5")  # the largest size so far is forgotten
before = status("VmRSS")
run()
print(status("VmHWM") - before)
"""


def fresh(code: str, *argv: object) -> list[str]:
    """Lines that `code` prints, in a process of its own."""
    command = [sys.executable, "-c", NETWORK + code, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def shifts(images: int) -> list[tuple[str, ...]]:
    """Rows of the table of scores; prints what was scored."""
    rows = []
    for kind in ("published", "mended"):
        lines = fresh(SHIFTS, kind, images)
        seconds, c_all = map(float, lines[0].split())
        print(f"{kind}: " + " ".join(lines[1:]) + "\n")
        met = "yes" if seconds <= SHIFT_BAR and (kind == "published" or c_all == 1.0) else "no"
        name = f"ResNet-20, {kind}, {images} images, all 1,024 shifts, with compilation"
        rows.append((name, f"{seconds:.1f} s, C_all {c_all:.2%}", f"{SHIFT_BAR:.0f} s", met))
    return rows


def cost(images: int) -> list[tuple[str, ...]]:
    """Rows of the table of the audit's cost."""
    rows = []
    for how in ("as it is", "tuned"):
        lines = fresh(COST, how, images)
        forward, audited, reading = ([float(t) for t in line.split()] for line in lines[1:4])
        name = f"audit of ResNet-50, {images} image{'s' * (images > 1)} of 224, {how}"
        for kind, one, all_of, read in zip(
            ("time", "processor time"), forward, audited, reading, strict=True
        ):
            ratio = (all_of - read) / one
            said = f"{all_of - read:.3f} s of {one:.3f} s: {ratio:.1f}"
            rows.append((f"{name}: {kind}", said, f"{FORWARD_BAR:g}", _met(ratio, FORWARD_BAR)))
        held, alone, both = (int(n) / 2**20 for n in lines[4].split())
        ratio = (held + both) / (held + alone)
        said = f"{held + both:.0f} MiB of {held + alone:.0f} MiB: {ratio:.1f}"
        rows += [
            (f"{name}: memory", said, f"{MEMORY_BAR:g}", _met(ratio, MEMORY_BAR)),
            (f"{name}: reading the program", f"{reading[0]:.2f} s", "", ""),
            (f"{name}: first call, with compilation", f"{float(lines[0]):.1f} s", "", ""),
        ]
    return rows


def chunks(sizes: tuple[int, ...] = (1, 4, 16, 64), shifts: int = 128) -> list[tuple[str, ...]]:
    """Rows of the table of memory: what one call adds, by how many shifts are computed at once."""
    name = "shift_error of ResNet-20, 4 images, {} shifts, {} at once: memory"
    grown = {size: float(fresh(CHUNKS, size, shifts)[0]) for size in sizes}
    return [(name.format(shifts, n), f"{mib:.0f} MiB", "", "") for n, mib in grown.items()]


def _met(value: float, bar: float) -> str:
    return "yes" if value <= bar else "no"


def main(argv: list[str]) -> None:
    parser = _options.parser("equivariance", __doc__, wrap=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--only", choices=("shifts", "cost", "chunks"))
    options = parser.parse_args(argv)
    print(_machine.describe() + "\n")
    rows = []
    parts = {"shifts": lambda: shifts(options.images), "cost": lambda: cost(1), "chunks": chunks}
    for name, part in parts.items():
        rows += part() if options.only in (None, name) else []
    print(_machine.table(("what", "measured", "bar", "met"), rows))
