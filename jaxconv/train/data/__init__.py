"""Labeled images: loaders, the order in which they are seen, and random changes to them."""

from jaxconv.train.data._dataset import Dataset as Dataset
from jaxconv.train.data._dataset import channel_statistics as channel_statistics
from jaxconv.train.data._dataset import normalize as normalize
from jaxconv.train.data.augment import augment as augment
from jaxconv.train.data.augment import circular_shift as circular_shift
from jaxconv.train.data.augment import cutout as cutout
from jaxconv.train.data.augment import flip as flip
from jaxconv.train.data.augment import mixup as mixup
from jaxconv.train.data.augment import pad_and_crop as pad_and_crop
from jaxconv.train.data.augment import partners as partners
from jaxconv.train.data.augment import sample_keys as sample_keys
from jaxconv.train.data.cifar import cifar10 as cifar10
from jaxconv.train.data.cifar import cifar100 as cifar100
from jaxconv.train.data.digits import digits as digits
from jaxconv.train.data.idx import fashion_mnist as fashion_mnist
from jaxconv.train.data.idx import mnist as mnist
from jaxconv.train.data.idx import read_idx as read_idx
from jaxconv.train.data.image_folder import image_folder as image_folder
from jaxconv.train.data.order import batches as batches
from jaxconv.train.data.order import order as order
from jaxconv.train.data.order import padded_batches as padded_batches
