"""Architectures, one a file, written only with layers and compositions."""

from jaxconv.models.convnext import convnext as convnext
from jaxconv.models.lenet import lenet as lenet
from jaxconv.models.mobilenet_v2 import mobilenet_v2 as mobilenet_v2
from jaxconv.models.resnet import resnet as resnet
from jaxconv.models.unet import unet as unet
