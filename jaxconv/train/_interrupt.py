"""Ctrl-C as a question asked between steps, so that no step is cut in half."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

NOTICE = b"\nCtrl-C: stopping after this step; once more stops at once.\n"


@contextlib.contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C was pressed inside the block.

    A step that gives its old state to the device (donation) has nothing left to save when an
    exception lands in the middle of it; so the first Ctrl-C only sets a flag, and the second raises
    `KeyboardInterrupt` as usual. Outside the main thread, which alone receives signals, the
    function returns False.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = []

    def handle(number, frame):
        del frame
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)
        os.write(2, NOTICE)  # print is not safe inside a signal handler

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
