"""Every Python block of the README and of the pages in docs runs, and prints what they say."""

import contextlib
import io
import os
import pathlib
import re

import jax
import pytest
from helpers import needs_primitives

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
BLOCK = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)

ROUNDING = re.compile(r"\b\d\.\d+e-(0[6-9]|[1-9]\d)\b")
"""Numbers that rounding alone makes: they differ from machine to machine."""


def run_blocks(text: str) -> list[tuple[str, str]]:
    """Runs the Python blocks of a page, in one namespace, and returns (printed, expected)."""
    namespace = {}
    results = []
    for code, expected in BLOCK.findall(text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "example.py", "exec"), namespace)
        if expected:
            results.append((printed.getvalue(), expected))
    return results


def check_blocks(text: str) -> None:
    for printed, expected in run_blocks(text):
        found, wanted = (ROUNDING.sub("rounding", text).split() for text in (printed, expected))
        assert found == wanted, f"\nprinted:\n{printed}\nexpected:\n{expected}"


@needs_primitives  # the pages show programs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_print_what_the_page_says(page, tmp_path):
    folder = os.getcwd()
    os.chdir(tmp_path)  # a block may write files
    try:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            check_blocks(page.read_text())
    finally:
        os.chdir(folder)


def test_a_wrong_output_is_noticed():
    with pytest.raises(AssertionError, match="printed"):
        check_blocks("```python\nprint(1)\n```\n\n```text\n2\n```")
    check_blocks("```python\nprint(2.5e-07)\n```\n\n```text\n1.8e-07\n```")
    with pytest.raises(AssertionError, match="printed"):
        check_blocks("```python\nprint(2.5e-05)\n```\n\n```text\n1.8e-05\n```")


def test_local_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target} is missing"


def test_the_two_commands_are_the_ones_that_are_checked():
    readme = (ROOT / "README.md").read_text()
    assert 'pip install -e ".[examples]" && python examples/train_digits.py' in readme
    assert 'pip install -e ".[test]" && pytest' in readme
