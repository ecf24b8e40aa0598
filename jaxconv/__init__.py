"""Convolutional networks in JAX as pure functions over pytrees."""

__version__ = "0.1.0"

from jaxconv import equivariance as equivariance
from jaxconv import layers as layers
from jaxconv import models as models
from jaxconv import ops as ops
from jaxconv._types import Layer as Layer
from jaxconv.compose import as_layer as as_layer
from jaxconv.compose import parallel as parallel
from jaxconv.compose import remat as remat
from jaxconv.compose import repeat as repeat
from jaxconv.compose import residual as residual
from jaxconv.compose import serial as serial
from jaxconv.layers import activation as activation
from jaxconv.layers import adaptive_avg_pool as adaptive_avg_pool
from jaxconv.layers import adaptive_max_pool as adaptive_max_pool
from jaxconv.layers import avg_pool as avg_pool
from jaxconv.layers import batch_norm as batch_norm
from jaxconv.layers import conv as conv
from jaxconv.layers import conv_transpose as conv_transpose
from jaxconv.layers import dense as dense
from jaxconv.layers import depthwise_conv as depthwise_conv
from jaxconv.layers import drop_path as drop_path
from jaxconv.layers import dropout as dropout
from jaxconv.layers import flatten as flatten
from jaxconv.layers import global_avg_pool as global_avg_pool
from jaxconv.layers import global_max_pool as global_max_pool
from jaxconv.layers import group_norm as group_norm
from jaxconv.layers import instance_norm as instance_norm
from jaxconv.layers import layer_norm as layer_norm
from jaxconv.layers import local_conv as local_conv
from jaxconv.layers import lp_pool as lp_pool
from jaxconv.layers import max_pool as max_pool
from jaxconv.layers import min_pool as min_pool
from jaxconv.layers import pad as pad
from jaxconv.layers import pixel_shuffle as pixel_shuffle
from jaxconv.layers import pixel_unshuffle as pixel_unshuffle
from jaxconv.layers import separable_conv as separable_conv
from jaxconv.layers import squeeze_excite as squeeze_excite
from jaxconv.layers import upsample as upsample
from jaxconv.summary import summary as summary
