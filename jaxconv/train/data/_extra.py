"""Imports of optional packages, which say what to install when one is missing."""

import importlib
from typing import Any


def extra(where: str, module: str, package: str) -> Any:
    """The module, or an error that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'{where}: the package {package} is not installed; expected the extra "train". '
            f"Got no module {module}. Run pip install 'jaxconv[train]'."
        ) from None
