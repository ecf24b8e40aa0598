"""Pictures: arrays in, matplotlib Axes out. No global state: a figure lives as long as its Axes."""

from jaxconv.plots.curves import curves as curves
from jaxconv.plots.grids import feature_maps as feature_maps
from jaxconv.plots.grids import filters as filters
from jaxconv.plots.grids import mistakes as mistakes
from jaxconv.plots.matrix import confusion as confusion
from jaxconv.plots.shifts import accuracy_under_shifts as accuracy_under_shifts
from jaxconv.plots.shifts import prediction_under_shifts as prediction_under_shifts
