"""Convolutional networks in JAX as pure functions over pytrees."""

__version__ = "0.1.0"

from jaxconv import models as models
from jaxconv import ops as ops
from jaxconv._types import Layer as Layer
from jaxconv.compose import as_layer as as_layer
from jaxconv.compose import parallel as parallel
from jaxconv.compose import remat as remat
from jaxconv.compose import repeat as repeat
from jaxconv.compose import residual as residual
from jaxconv.compose import serial as serial
