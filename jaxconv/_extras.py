"""Optional dependencies, imported where they are used and named when they are missing."""

import importlib
from typing import Any


def need(where: str, module: str, extra: str) -> Any:
    """Imports a module of an extra.

    Args:
        where: the function that needs it, for the message.
        module: what to import, "matplotlib.figure" say.
        extra: the extra of jaxconv that installs it.

    Returns:
        The module.

    Raises:
        ImportError: when the package is not installed; the message says what to install.

    Example:
        >>> need("here", "json", "train").dumps([1])
        '[1]'
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ModuleNotFoundError(
            f"{where}: {package} is not installed; expected the extra [{extra}]. "
            f"Got no module {module!r}. Run: pip install 'jaxconv[{extra}]'.",
            name=error.name,
        ) from None
