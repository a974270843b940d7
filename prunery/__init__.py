"""Prunery compresses neural networks the way a build system compiles programs.

This page is the public interface: what a plugin imports.
"""

from prunery.contract import (
    Analyser,
    Architecture,
    Backend,
    Bencher,
    BenchSettings,
    CalibrationSettings,
    Calibrator,
    ChannelPruner,
    DataSource,
    Evaluator,
    Layer,
    LayerPruner,
    Learner,
    Measured,
    Method,
    Projection,
    Projector,
    Pruner,
    Quantizer,
    Rewirer,
    Score,
    Selector,
    Settings,
    SpectralFitter,
)
from prunery.errors import PruneryError
from prunery.hooks import hookimpl

__all__ = [
    "Analyser",
    "Architecture",
    "Backend",
    "BenchSettings",
    "Bencher",
    "CalibrationSettings",
    "Calibrator",
    "ChannelPruner",
    "DataSource",
    "Evaluator",
    "Layer",
    "LayerPruner",
    "Learner",
    "Measured",
    "Method",
    "Projection",
    "Projector",
    "Pruner",
    "PruneryError",
    "Quantizer",
    "Rewirer",
    "Score",
    "Selector",
    "Settings",
    "SpectralFitter",
    "hookimpl",
]
__version__ = "0.1.0"
