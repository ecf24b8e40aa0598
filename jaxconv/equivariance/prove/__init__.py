"""Shift laws of any function, proved from its jaxpr."""

from jaxconv.equivariance.prove._fixes import Fix as Fix
from jaxconv.equivariance.prove._laws import Law as Law
from jaxconv.equivariance.prove._limits import Limit as Limit
from jaxconv.equivariance.prove._proof import Proof as Proof
from jaxconv.equivariance.prove._verify import Check as Check
from jaxconv.equivariance.prove.assert_proved import assert_proved as assert_proved
from jaxconv.equivariance.prove.prove import prove as prove
from jaxconv.equivariance.prove.sizes import prove_sizes as prove_sizes
from jaxconv.equivariance.prove.suggest import Change as Change
from jaxconv.equivariance.prove.suggest import Suggestion as Suggestion
from jaxconv.equivariance.prove.suggest import suggest as suggest
from jaxconv.equivariance.prove.symmetries import Symmetry as Symmetry
from jaxconv.equivariance.prove.symmetries import prove_symmetries as prove_symmetries
