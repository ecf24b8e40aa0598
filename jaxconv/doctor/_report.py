"""A diagnosis as text for a terminal."""

import os
import textwrap
from collections.abc import Mapping
from typing import Any

from jaxconv.doctor import _facts
from jaxconv.doctor._diagnose import ABSENT, RIGHT, Diagnosis, Finding


def report(
    diagnosis: Diagnosis, *, width: int = 80, environment: Mapping[str, str] | None = None
) -> str:
    """What was found, what it means and what to do, and whether to trust the installation.

    Args:
        diagnosis: what `diagnose` returned.
        width: columns of the terminal; lines to be copied are never broken.
        environment: that of the diagnosis, for its XLA_FLAGS; this process's unless given.
    """
    facts = _facts.describe(diagnosis.facts, os.environ if environment is None else environment)
    parts = [_columns(facts, width)]
    if diagnosis.failure is None:
        parts += [_table(diagnosis.findings), *_advice(diagnosis.findings, width)]
    parts.append(textwrap.fill(verdict(diagnosis), width))
    return "\n\n".join(parts)


def as_json(
    diagnosis: Diagnosis, *, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The same as values that JSON can hold."""
    here = os.environ if environment is None else environment
    findings = [
        {
            "canary": f.canary.name,
            "plain_jax": f.xla,
            "jaxconv": f.own,
            "plain_jax_with_flag": f.cured,
            "stake": f.canary.stake,
            "cure": f.canary.cure,
            "details": list(f.details),
        }
        for f in diagnosis.findings
    ]
    return {
        "trusted": diagnosis.trusted,
        "jaxconv_trusted": diagnosis.own_trusted,
        "failure": diagnosis.failure,
        "facts": _facts.describe(diagnosis.facts, here),
        "findings": findings,
    }


def verdict(diagnosis: Diagnosis) -> str:
    """The closing sentence."""
    if diagnosis.failure is not None:
        return f"JAX does not start here: {diagnosis.failure}. Nothing was checked."
    count = len(diagnosis.findings)
    sick = [f for f in diagnosis.findings if f.xla not in (RIGHT, ABSENT)]
    ours = [f for f in diagnosis.findings if f.own not in (RIGHT, ABSENT)]
    if ours:
        return (
            f"This installation cannot be trusted: jaxconv's own operations fail "
            f"{len(ours)} of {count} canaries ({_names(ours)}). Please report this."
        )
    if not sick:
        return (
            f"This installation can be trusted: all {count} canaries are right, in plain JAX and "
            f"in jaxconv's own operations."
        )
    rest = [f for f in sick if f.cured != RIGHT]
    flags = " Set the flag above, then ask again." if len(rest) < len(sick) else ""
    if rest and len(rest) < len(sick):
        flags = f" The flag above mends all but {_names(rest)}."
    return (
        f"Plain JAX cannot be trusted on this installation: it fails {len(sick)} of {count} "
        f"canaries ({_names(sick)}). jaxconv's own operations are right in all of them.{flags}"
    )


def _names(findings: list[Finding]) -> str:
    return ", ".join(finding.canary.name for finding in findings)


def _columns(rows: Mapping[str, str], width: int) -> str:
    """Names on the left, texts on the right, each text wrapped in its column."""
    indent = max(map(len, rows)) + 2
    return "\n".join(
        textwrap.fill(
            text,
            width,
            initial_indent=name.ljust(indent),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in rows.items()
    )


def _table(findings: tuple[Finding, ...]) -> str:
    names = max(len(finding.canary.name) for finding in findings)
    titles = max(len(finding.canary.title) for finding in findings)
    line = f"{{:{names}}}  {{:{titles}}}  {{:9}}  {{}}"
    head = line.format("canary", "what is computed", "plain JAX", "jaxconv")
    rows = [
        line.format(f.canary.name, f.canary.title, _shout(f.xla), _shout(f.own)) for f in findings
    ]
    return "\n".join(["Measured now, against NumPy in 64-bit floating point:", "", head, *rows])


def _shout(verdict: str) -> str:
    return {RIGHT: RIGHT, ABSENT: "-"}.get(verdict, verdict.upper())


def _advice(findings: tuple[Finding, ...], width: int) -> list[str]:
    """One paragraph per cure: what the faults mean that it cures, and the line to copy."""
    sick = [f for f in findings if {f.xla, f.own} - {RIGHT, ABSENT}]
    paragraphs = []
    for cure in dict.fromkeys(finding.canary.cure for finding in sick):
        cured = [finding for finding in sick if finding.canary.cure == cure]
        stakes = _columns({f.canary.name: f"{f.canary.stake} {_details(f)}" for f in cured}, width)
        paragraphs.append(f"{stakes}\n{_tried(cured)}\n  {cure}")
    return paragraphs


def _details(finding: Finding) -> str:
    return f"[{'; '.join(finding.details)}]" if finding.details else ""


def _tried(findings: list[Finding]) -> str:
    """What became of a cure: that of a flag in processes with it, any other in our column."""
    verdicts = {f.cured if f.canary.flag else f.own for f in findings}
    if verdicts == {RIGHT}:
        return "The cure, tried here, all right with it:"
    if verdicts == {None}:
        return "The cure, not tried here:"
    still = [f for f in findings if (f.cured if f.canary.flag else f.own) != RIGHT]
    return f"The cure, tried here, which does not mend {_names(still)}:"
