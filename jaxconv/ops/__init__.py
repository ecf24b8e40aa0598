"""Pure functions on arrays: convolutions, pools, padding, resampling."""

from jaxconv.ops.conv import conv as conv
from jaxconv.ops.conv import depthwise_conv as depthwise_conv
from jaxconv.ops.conv_transpose import conv_transpose as conv_transpose
from jaxconv.ops.local_conv import local_conv as local_conv
from jaxconv.ops.pad import pad as pad
from jaxconv.ops.patches import fold as fold
from jaxconv.ops.patches import patches as patches
