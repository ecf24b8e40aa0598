"""What an audit says of one operation, and of one output."""

from typing import NamedTuple

import numpy as np


class Operation(NamedTuple):
    """One call of the program and what it does to equivariance.

    Attributes:
        path: names of the enclosing scopes and the operation, "stage2/conv/conv_general_dilated".
        file: file of the user's line, "" where there is none.
        line: its number, 0 where there is none.
        shape: of its output.
        law: how its output should move at the audited shift.
        eps_inf: max |T y - y(T x)| / max |y|; NaN where nothing can be compared.
        eps_2: the same in the 2-norm, against y less its mean over the moved axes.
        border: share of the squared error at entries that see beyond the input's edges.
        field: input pixels that one entry sees, per moved axis.
        lie: signed contribution to the Lie derivative of the outputs along their finite error,
            relative to their scale; NaN without one.
        guilty: whether it breaks the law though all that it reads obeys.
        also: whether it would break the law by itself, were what it reads right.
        added: how much smaller the outputs' error is when its output is made ideal; NaN unless
            asked for.
        error_map: largest error over all but the moved axes, relative to max |y|; or None.
    """

    path: str
    file: str
    line: int
    shape: tuple[int, ...]
    law: str
    eps_inf: float
    eps_2: float
    border: float
    field: tuple[int, ...]
    lie: float
    guilty: bool
    also: bool
    added: float
    error_map: np.ndarray | None

    @property
    def place(self) -> str:
        """Path and line in one: "stage2/conv/conv_general_dilated at model.py:31"."""
        return f"{self.path} at {self.source}" if self.file else self.path

    @property
    def source(self) -> str:
        """File, without its folder, and line: "model.py:31"; "" where neither is known."""
        name = self.file.replace("\\", "/").rsplit("/", 1)[-1]
        return f"{name}:{self.line}" if self.file else ""

    @property
    def heat_map(self) -> np.ndarray | None:
        """Its error map, where that has two axes and an error."""
        found = self.error_map
        return found if found is not None and found.ndim == 2 and found.max() > 1e-6 else None


class Output(NamedTuple):
    """One output leaf: how it should move, and whether it does.

    Attributes:
        path: key path, "" for a lone array.
        law: how it should move at the audited shift.
        moving: whether it should move at all.
        eps_inf: its error.
        eps_2: its error, contrast-normalized.
        obeys: whether eps_inf is within the tolerance.
        whole: whether it holds whole numbers or truths, which hide small changes.
    """

    path: str
    law: str
    moving: bool
    eps_inf: float
    eps_2: float
    obeys: bool
    whole: bool
