"""Transfer rules, one family a file; importing this package fills the table."""

from jaxconv.equivariance.prove.rules import contract as contract
from jaxconv.equivariance.prove.rules import elementwise as elementwise
from jaxconv.equivariance.prove.rules import fourier as fourier
from jaxconv.equivariance.prove.rules import index as index
from jaxconv.equivariance.prove.rules import random as random
from jaxconv.equivariance.prove.rules import reduce as reduce
from jaxconv.equivariance.prove.rules import scatter as scatter
from jaxconv.equivariance.prove.rules import select as select
from jaxconv.equivariance.prove.rules import structure as structure
from jaxconv.equivariance.prove.rules import window as window
