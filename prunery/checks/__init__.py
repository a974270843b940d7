"""What the contract suite asks of the methods of each stage; run by `prunery.testing.MethodContract`.

Every check gets a `Case` and fails by assertion. Transforms and measures run through the stage's real function.
"""

from prunery.checks import channels, measures, sources, transforms
from prunery.checks.base import CHECKS, Case

__all__ = ["CHECKS", "Case", "channels", "measures", "sources", "transforms"]
