"""Pure functions on arrays: convolutions, pools, padding, resampling."""

from jaxconv.ops.conv import conv as conv
from jaxconv.ops.conv import depthwise_conv as depthwise_conv
from jaxconv.ops.pad import pad as pad
