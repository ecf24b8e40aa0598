"""Medians of candidates that take turns; imports no framework, so that every process can use it."""

import statistics
import time
from collections.abc import Callable, Mapping

TURN = 0.01
"""Seconds of one turn: a candidate faster than this runs several times in a row, caches warm."""

FEWEST = 5
"""Runs that a median takes at least."""


def medians(
    candidates: Mapping[str, Callable[[], object]], repeats: int = 15, seconds: float = 2.0
) -> dict[str, float]:
    """Median seconds of each candidate, in turns, so that a busy moment hits them alike.

    Args:
        candidates: functions that return when their result is there.
        repeats: turns of each; 0 runs each once, so that it is compiled, and times nothing.
        seconds: a candidate that took this long sits out, once it has `FEWEST` runs.
    """
    bursts: dict[str, int] = {}
    for name, run in candidates.items():
        run()
        if not repeats:
            continue
        bursts[name] = max(1, min(10, int(TURN / max(_once(run), 1e-6))))
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats):
        for name, run in candidates.items():
            if turn >= FEWEST and sum(times[name]) > seconds:
                continue
            times[name] += [_once(run) for _ in range(bursts[name])]
    return {name: statistics.median(runs) for name, runs in times.items() if runs}


def _once(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
