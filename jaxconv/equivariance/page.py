"""An audit as one HTML file that needs nothing else: no network, no script from elsewhere."""

import json
import os
from importlib import resources

from jaxconv import _parse
from jaxconv.equivariance import _page_data, _table
from jaxconv.equivariance.audit import Audit
from jaxconv.equivariance.prove import Proof
from jaxconv.equivariance.prove._sheet import sheet


def audit_page(
    found: Audit, path: str | os.PathLike[str], *, steps: int = 64, proof: Proof | None = None
) -> None:
    """Writes an audit as a page: table, heat maps, and a slider that shifts the image.

    The file holds its styles, its script and its pictures; a content policy forbids it to load
    anything. Names and paths reach the page as data and are set as text, never as markup.

    Args:
        found: what `audit` returned.
        path: of the file to write.
        steps: shifts at which the slider knows the prediction, at most.
        proof: what `prove` returned for the same function; the page then says what is proved too.

    Raises:
        TypeError: when steps is no int.
        ValueError: when steps is below 1.

    Example:
        >>> import tempfile, jax
        >>> from jaxconv.equivariance import audit
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     audit_page(audit(lambda x: x[:, ::2], x), f"{folder}/audit.html")
    """
    _parse.integer("audit_page", "steps", steps)
    picture = _page_data.image(found.x)
    content = {
        "answer": _table.answer(found),
        "obeys": found.obeys,
        "notes": _table.notes(found),
        "head": list(_table.columns(found)),
        "counted": found.counted,
        "rows": _page_data.rows(found),
        "image": None if picture is None else _page_data.png(picture),
        "proof": None if proof is None else sheet(proof),
        "predictions": _page_data.predictions(found, steps),
    }
    template = resources.files("jaxconv.equivariance").joinpath("page.html").read_text("utf-8")
    with open(path, "w", encoding="utf-8") as file:
        file.write(template.replace("__DATA__", embedded(content)))


def embedded(content: object) -> str:
    """JSON that cannot end the element that it stands in: <, > and & are escaped."""
    escapes = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return "".join(escapes.get(character, character) for character in text)
