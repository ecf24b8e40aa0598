"""Pure functions on arrays: convolutions, pools, padding, resampling."""

from jaxconv.ops.adaptive_pool import adaptive_avg_pool as adaptive_avg_pool
from jaxconv.ops.adaptive_pool import adaptive_max_pool as adaptive_max_pool
from jaxconv.ops.avg_pool import avg_pool as avg_pool
from jaxconv.ops.avg_pool import lp_pool as lp_pool
from jaxconv.ops.blur import blur as blur
from jaxconv.ops.conv import conv as conv
from jaxconv.ops.conv import depthwise_conv as depthwise_conv
from jaxconv.ops.conv_transpose import conv_transpose as conv_transpose
from jaxconv.ops.gelu import gelu as gelu
from jaxconv.ops.ideal import ideal_down as ideal_down
from jaxconv.ops.ideal import ideal_up as ideal_up
from jaxconv.ops.local_conv import local_conv as local_conv
from jaxconv.ops.pad import pad as pad
from jaxconv.ops.patches import fold as fold
from jaxconv.ops.patches import patches as patches
from jaxconv.ops.polyphase import polyphase_down as polyphase_down
from jaxconv.ops.polyphase import polyphase_split as polyphase_split
from jaxconv.ops.polyphase import polyphase_up as polyphase_up
from jaxconv.ops.polyphase_select import polyphase_select as polyphase_select
from jaxconv.ops.pool import max_pool as max_pool
from jaxconv.ops.pool import min_pool as min_pool
from jaxconv.ops.pool_indices import max_pool_with_indices as max_pool_with_indices
from jaxconv.ops.pool_indices import unpool as unpool
from jaxconv.ops.resample import pixel_shuffle as pixel_shuffle
from jaxconv.ops.resample import pixel_unshuffle as pixel_unshuffle
from jaxconv.ops.resample import resize as resize
