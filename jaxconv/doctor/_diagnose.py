"""Runs the canaries in processes of their own, and their cures in others."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxconv.doctor._canaries import CANARIES, Canary

RIGHT, WRONG, CRASHED, ABSENT = "right", "wrong", "crashed", "not applicable"

SIDES = ("xla", "own")
"""Programs of plain JAX, which XLA runs as it is, and of this library's operations."""

SECONDS = 120
"""Given to a process before it is ended: on two cores of a busy machine one takes about 10."""


class Finding(NamedTuple):
    """What one canary did.

    Attributes:
        canary: the canary.
        xla: verdict on plain JAX: right, wrong, crashed, or not applicable.
        own: verdict on this library's operations.
        cured: verdict on plain JAX with the canary's flag set; None where that was not tried.
        details: error or last words of each side that is not right.
    """

    canary: Canary
    xla: str
    own: str
    cured: str | None = None
    details: tuple[str, ...] = ()


class Diagnosis(NamedTuple):
    """What is known about an installation.

    Attributes:
        facts: versions, devices and settings.
        findings: one per canary; empty where the backend does not start.
        failure: why the backend does not start, or None.
    """

    facts: dict[str, Any]
    findings: tuple[Finding, ...]
    failure: str | None = None

    @property
    def trusted(self) -> bool:
        """Whether every canary is right, in plain JAX and in this library."""
        return self.own_trusted and all(f.xla in (RIGHT, ABSENT) for f in self.findings)

    @property
    def own_trusted(self) -> bool:
        """Whether every canary is right in this library's operations."""
        return self.failure is None and all(f.own in (RIGHT, ABSENT) for f in self.findings)


class Outcome(NamedTuple):
    """A verdict, and the error or the last words of the process."""

    verdict: str
    detail: str = ""


def diagnose(
    *,
    canaries: Iterable[Canary] = CANARIES,
    environment: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
    try_cures: bool = True,
) -> Diagnosis:
    """Runs every canary and says what this installation gets wrong.

    Verdicts come from NumPy in float64, never from a version. Programs run in processes of their
    own, because some faults end them: a process that dies condemns the program that it was in,
    and another goes on with the rest. Nothing is written, the compilation cache included.

    Args:
        canaries: which; all unless given.
        environment: variables of the processes; those of this one unless given.
        seconds: a process that takes longer is ended, and what it was in counts as crashed.
        try_cures: whether faults that a flag cures are run again with it.

    Returns:
        A `Diagnosis`.

    Example:
        >>> found = diagnose(canaries=[c for c in CANARIES if c.name == "ties"])
        >>> [(finding.canary.name, finding.own) for finding in found.findings]
        [('ties', 'right')]
    """
    canaries = tuple(canaries)
    given = dict(os.environ if environment is None else environment)
    names = [f"{canary.name}/{side}" for side in SIDES for canary in canaries]
    facts, outcomes, failure = _run(names, given, seconds)
    if failure is not None:
        return Diagnosis(facts, (), failure)
    cured = {}
    if try_cures:
        sick = [c for c in canaries if c.flag and outcomes[f"{c.name}/xla"].verdict != RIGHT]
        for flag in dict.fromkeys(canary.flag for canary in sick):
            better = given | {"XLA_FLAGS": f"{given.get('XLA_FLAGS', '')} {flag}".strip()}
            again = [f"{canary.name}/xla" for canary in sick if canary.flag == flag]
            cured |= _run(again, better, seconds)[1]
    findings = []
    for canary in canaries:
        xla, own = (outcomes[f"{canary.name}/{side}"] for side in SIDES)
        again = cured.get(f"{canary.name}/xla")
        details = tuple(o.detail for o in (xla, own) if o.detail)
        verdict = None if again is None else again.verdict
        findings.append(Finding(canary, xla.verdict, own.verdict, verdict, details))
    return Diagnosis(facts, tuple(findings))


def _run(
    names: list[str], environment: Mapping[str, str], seconds: float
) -> tuple[dict[str, Any], dict[str, Outcome], str | None]:
    """Facts, an outcome for every program, and why there are none if no process started."""
    facts, outcomes, left = {}, {}, list(names)
    while left:
        lines, end = _process(left, environment, seconds)
        begun = None
        for line in lines:
            facts |= line.get("facts", {})
            begun = line.get("begin", begun)
            if "end" in line:
                outcomes[line["end"]] = _outcome(line)
        if begun is None:
            return facts, {}, end
        outcomes.setdefault(begun, Outcome(CRASHED, end))
        left = [name for name in left if name not in outcomes]
    return facts, outcomes, None


def _outcome(line: Mapping[str, Any]) -> Outcome:
    if "raised" in line:
        return Outcome(WRONG, line["raised"])
    if line["error"] is None:
        return Outcome(ABSENT)
    wrong = not line["right"]
    return Outcome(WRONG, f"relative error {line['error']:.1e}") if wrong else Outcome(RIGHT)


def _process(
    names: list[str], environment: Mapping[str, str], seconds: float
) -> tuple[list[dict[str, Any]], str]:
    """The lines that a process wrote, and how it ended."""
    command = [sys.executable, "-m", "jaxconv.doctor._child", *names]
    # A canary must neither be served a program that another version compiled, nor store its own.
    quiet = {"JAX_ENABLE_COMPILATION_CACHE": "false", "PYTHONFAULTHANDLER": ""}
    try:
        done = subprocess.run(
            command,
            env={**environment, **quiet},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        wrote, code, words = done.stdout, done.returncode, done.stderr
        end = f"signal {-code}" if code < 0 else f"exit status {code}"
    except subprocess.TimeoutExpired as expired:
        wrote, words = _text(expired.stdout), _text(expired.stderr)
        end = f"no answer in {seconds:g} seconds"
    lines = [json.loads(line) for line in wrote.splitlines() if line.startswith("{")]
    return lines, end + _reason(words)


def _reason(words: str) -> str:
    """What a process wrote last, or the check that failed and not the stack beneath it."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    failed = [line.partition("] ")[2] for line in lines if "] Check failed: " in line]
    said = [*failed, *lines[-1:]]
    return f": {said[0][:120]}" if said else ""


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
