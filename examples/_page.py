"""What pages of examples are made of: tables, paragraphs, the machine that was measured."""

import importlib.metadata
import os
import textwrap
from collections.abc import Sequence

import jax


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: its first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(blocks: Sequence[str]) -> str:
    """A page in Markdown, prose wrapped; headings, tables and pictures stay as they are."""
    wrapped = [block if block[0] in "|#!" else textwrap.fill(block, 100) for block in blocks]
    return "\n\n".join(wrapped) + "\n"


def machine() -> str:
    """Cores, device and versions, in words."""
    names = ("jax", "jaxlib", "numpy", "optax")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}, {versions}"
