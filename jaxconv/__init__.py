"""Convolutional networks in JAX as pure functions over pytrees."""

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxconv import doctor as doctor
    from jaxconv import equivariance as equivariance
    from jaxconv import models as models
    from jaxconv._malloc import tune_malloc as tune_malloc
    from jaxconv._summary import summary as summary

from jaxconv import layers as layers
from jaxconv import ops as ops
from jaxconv._types import Layer as Layer
from jaxconv.compiler_options import compiler_options as compiler_options
from jaxconv.compose import as_layer as as_layer
from jaxconv.compose import parallel as parallel
from jaxconv.compose import remat as remat
from jaxconv.compose import repeat as repeat
from jaxconv.compose import residual as residual
from jaxconv.compose import serial as serial
from jaxconv.fast import fast as fast
from jaxconv.layers import activation as activation
from jaxconv.layers import adaptive_avg_pool as adaptive_avg_pool
from jaxconv.layers import adaptive_max_pool as adaptive_max_pool
from jaxconv.layers import affine_conv as affine_conv
from jaxconv.layers import affine_residual as affine_residual
from jaxconv.layers import alias_free_norm as alias_free_norm
from jaxconv.layers import avg_pool as avg_pool
from jaxconv.layers import batch_norm as batch_norm
from jaxconv.layers import blur_pool as blur_pool
from jaxconv.layers import conv as conv
from jaxconv.layers import conv_transpose as conv_transpose
from jaxconv.layers import dense as dense
from jaxconv.layers import depthwise_conv as depthwise_conv
from jaxconv.layers import drop_path as drop_path
from jaxconv.layers import dropout as dropout
from jaxconv.layers import filtered_polynomial as filtered_polynomial
from jaxconv.layers import flatten as flatten
from jaxconv.layers import global_avg_pool as global_avg_pool
from jaxconv.layers import global_max_pool as global_max_pool
from jaxconv.layers import group_norm as group_norm
from jaxconv.layers import ideal_down as ideal_down
from jaxconv.layers import ideal_up as ideal_up
from jaxconv.layers import instance_norm as instance_norm
from jaxconv.layers import layer_norm as layer_norm
from jaxconv.layers import local_conv as local_conv
from jaxconv.layers import lp_pool as lp_pool
from jaxconv.layers import max_blur_pool as max_blur_pool
from jaxconv.layers import max_pool as max_pool
from jaxconv.layers import min_pool as min_pool
from jaxconv.layers import pad as pad
from jaxconv.layers import phase_scorer as phase_scorer
from jaxconv.layers import pixel_shuffle as pixel_shuffle
from jaxconv.layers import pixel_unshuffle as pixel_unshuffle
from jaxconv.layers import polyphase_around as polyphase_around
from jaxconv.layers import polyphase_down as polyphase_down
from jaxconv.layers import separable_conv as separable_conv
from jaxconv.layers import sort_pool as sort_pool
from jaxconv.layers import squeeze_excite as squeeze_excite
from jaxconv.layers import upsample as upsample

# Loaded when first asked for, so that importing the layers alone stays quick (test_import.py).
_ON_DEMAND = {
    "doctor": ("jaxconv.doctor", None),
    "equivariance": ("jaxconv.equivariance", None),
    "models": ("jaxconv.models", None),
    "summary": ("jaxconv._summary", "summary"),
    "tune_malloc": ("jaxconv._malloc", "tune_malloc"),
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module 'jaxconv' has no attribute {name!r}")
    module, attribute = _ON_DEMAND[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ON_DEMAND])
