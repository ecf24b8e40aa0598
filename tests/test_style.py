"""The house rules that a reader cannot check by eye, over every file; each with a negative control.

A checker takes source text and returns what is wrong with it, so that it can be shown bad text.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / "jaxconv").rglob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))

LONGEST_FILE = 300
INTERNALS = ("jax.extend", "jax.interpreters", "jax._src", "jaxlib")
MAY_USE_INTERNALS = "jaxconv/ops/_define.py"

FLOORS = {
    "jaxconv._types": 0,
    "jaxconv._parse": 0,
    "jaxconv._extras": 0,
    "jaxconv._atomic": 0,
    "jaxconv._malloc": 0,
    "jaxconv._children": 0,
    "jaxconv.geometry": 0,
    "jaxconv.compiler_options": 0,
    "jaxconv.ops": 1,
    "jaxconv.equivariance": 1,
    "jaxconv.train": 1,
    "jaxconv.plots": 1,
    "jaxconv.layers": 2,
    "jaxconv.fast": 2,
    "jaxconv.doctor": 3,
    "jaxconv.compose": 3,
    "jaxconv.models": 4,
    "jaxconv._cost": 4,
    "jaxconv._summary": 4,
    "jaxconv.weights": 5,
    "jaxconv.__main__": 6,
    "jaxconv": 6,
}
"""The floor of every part; the package itself, whose contents page imports them all, on top."""

ACROSS = {("jaxconv.equivariance", "jaxconv.ops"), ("jaxconv._summary", "jaxconv._cost")}
"""Imports between parts of one floor: walkers of jaxprs take JAX's types from ops/_define.py."""


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in SOURCES}


def _part(module):
    """The longest prefix of a module's name that stands in the table of floors."""
    names = module.split(".")
    prefixes = (".".join(names[:n]) for n in range(len(names), 0, -1))
    return next(prefix for prefix in prefixes if prefix in FLOORS)


def _imported(source, *, top_level=False):
    """Names of modules that a text imports, `from a import b` as a.b where that is a module."""
    tree = ast.parse(source)
    nodes = _at_import_time(tree) if top_level else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                known = full in MODULES or not node.module.startswith("jaxconv")
                yield full if known else node.module


def _at_import_time(tree):
    """Statements that run when a module is imported: not in functions, not for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _at_import_time(node)


def imports_upward(module, source):
    """Imports of jaxconv that do not point down."""
    own = _part(module)
    wrong = []
    for name in _imported(source):
        if name.split(".")[0] != "jaxconv":
            continue
        part = _part(name)
        ground = FLOORS[own] == 0 == FLOORS[part]
        down = FLOORS[part] < FLOORS[own] or part == own or ground or (own, part) in ACROSS
        version = name == "jaxconv" and _reads_only_version(source)
        if not (down or version):
            wrong.append(f"{module} imports {name}")
    return wrong


def _reads_only_version(source):
    attributes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    read = {node.attr for node in attributes if ast.unparse(node.value) == "jaxconv"}
    return read == {"__version__"}


def uses_internals(source):
    """Imports of JAX that its next release may take away."""
    return [name for name in _imported(source) if name.startswith(INTERNALS)]


def raised_badly(source):
    """Exceptions raised with anything but one message: two strings would print as a tuple."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            text = node.exc.args[0] if node.exc.args else None
            number = isinstance(text, ast.Constant) and not isinstance(text.value, str)
            if len(node.exc.args) > 1 or number or isinstance(text, ast.Tuple):
                wrong.append(f"line {node.lineno}: {ast.unparse(node.exc)[:60]}")
    return wrong


def misused_parameters(source):
    """Parameters of tests that are never read, or bound again so that all cases test one."""
    wrong = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
            names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
            read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
            bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
            arguments = function.args
            for argument in [*arguments.args, *arguments.kwonlyargs]:
                if argument.arg not in read:
                    wrong.append(f"{function.name}: {argument.arg} is never used")
                if argument.arg in bound:
                    wrong.append(f"{function.name}: {argument.arg} is bound again")
    return wrong


def cycles(graph):
    """Circles of imports, each as the list of its modules."""
    found, done = [], set()

    def visit(module, trail):
        if module in trail:
            found.append([*trail[trail.index(module) :], module])
        elif module not in done:
            for other in graph.get(module, ()):
                visit(other, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return found


def _named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_imports_point_down(path):
    assert imports_upward(_module(path), path.read_text()) == []


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_one_file_touches_the_internals_of_jax(path):
    found = uses_internals(path.read_text())
    assert bool(found) == (_named(path) == MAY_USE_INTERNALS), found


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=_named)
def test_exceptions_have_one_message(path):
    assert raised_badly(path.read_text()) == []


@pytest.mark.parametrize("path", TESTS, ids=_named)
def test_parameters_of_tests_are_used(path):
    assert misused_parameters(path.read_text()) == []


def test_no_import_is_circular():
    graph = {
        module: set(_imported(path.read_text(), top_level=True)) & set(MODULES)
        for module, path in MODULES.items()
    }
    assert cycles(graph) == []
    assert sum(map(len, graph.values())) > 100


def test_every_part_has_a_floor():
    assert {_part(module) for module in MODULES if module != "jaxconv"} <= set(FLOORS) - {"jaxconv"}


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("jaxconv.ops.pad", "from jaxconv import layers", True),
        ("jaxconv.ops.pad", "from jaxconv.compose import serial", True),
        ("jaxconv.ops.pad", "import jaxconv", True),
        ("jaxconv.ops.pad", "import jaxconv\njaxconv.conv(jaxconv.__version__)", True),
        ("jaxconv.ops.pad", "import jaxconv\nprint(jaxconv.__version__)", False),
        ("jaxconv.ops.pad", "def f():\n    from jaxconv.models import resnet", True),
        ("jaxconv.equivariance.audit", "from jaxconv.train import loop", True),
        ("jaxconv.equivariance.audit", "from jaxconv.layers.conv import conv", True),
        ("jaxconv.equivariance._jaxpr", "from jaxconv.ops import _define", False),
        ("jaxconv.layers.conv", "from jaxconv import _parse, ops\nimport jax", False),
        ("jaxconv.models.resnet", "from jaxconv.models._blocks import Style", False),
    ],
)
def test_upward_imports_would_be_found(module, source, wrong):
    assert bool(imports_upward(module, source)) == wrong


@pytest.mark.parametrize(
    ("checker", "good", "bad"),
    [
        (uses_internals, "from jax import lax", "from jax._src import core"),
        (uses_internals, "import jax.numpy", "import jax.extend.core"),
        (raised_badly, "raise ValueError(f'{a} b')", "raise ValueError('a', 'b')"),
        (raised_badly, "raise", "raise TypeError(('a', 'b'))"),
        (misused_parameters, "def test_a(x):\n    f(x)", "def test_a(x):\n    f()"),
        (misused_parameters, "def test_a(x):\n    y = x", "def test_a(x):\n    x = f(x)"),
        (misused_parameters, "def helper(x):\n    pass", "def test_a(x):\n    for x in x: f()"),
        (cycles, {"a": ["b"], "b": ["c"]}, {"a": ["b"], "b": ["c"], "c": ["a"]}),
    ],
)
def test_each_checker_tells_good_from_bad(checker, good, bad):
    assert checker(good) == []
    assert len(checker(bad)) == 1
