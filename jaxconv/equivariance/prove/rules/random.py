"""Random numbers: deterministic functions of their key, as a whole."""

from jaxconv.equivariance.prove._arrays import Labels, Value, all_bundled
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._operands import opaque
from jaxconv.equivariance.prove._table import Call, Context, rule

SAFE = ("shape", "bit_width", "dtype", "num", "impl")


@rule(
    "random_seed",
    "random_split",
    "random_fold_in",
    "random_bits",
    "random_wrap",
    "random_unwrap",
    "random_clone",
    "threefry2x32",
    "random_gamma",
)
def random(context: Context, call: Call, *operands: Value) -> list[Labels]:
    """One function of whole keys; bits drawn from one key are different at every position."""
    text = sorted((key, str(value)) for key, value in call.params.items() if key in SAFE)
    return [
        all_bundled(opaque(operands, shape, context.rank, name_of(call.name, text, number)))
        for number, shape in enumerate(call.shapes)
    ]
