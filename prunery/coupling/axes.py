"""What operators along axes mean for labels: reductions, softmax, pooling, resizing and normalisations."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from prunery.coupling.atoms import FREE, KEPT
from prunery.coupling.labels import thin, unite_along, varies
from prunery.coupling.ledger import Ledger
from prunery.coupling.operators import ADDED, MIXED, Call, everywhere, rule


@rule("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "linalg_vector_norm", "norm", "prod",
      "argmax", "argmin", "any", "all", "logsumexp")  # fmt: skip
def reduced(ledger: Ledger, call: Call) -> None:
    """Over places of one channel; over different channels it is no longer known what a number belongs to."""
    label = ledger.roots(call.args[0])
    dims = call.argument("dim", list(range(label.dim())))
    axes = [axis % label.dim() for axis in ([dims] if isinstance(dims, int) else dims or range(label.dim()))]
    if any(varies(label, axis) for axis in axes):
        ledger.atoms.freeze(thin(label)[0], MIXED)
        label = everywhere(KEPT, label.shape)
    for axis in axes:
        label = label.narrow(axis, 0, 1)
    for result in call.results():
        ledger.set(result, label.reshape(result.shape))


@rule("_softmax", "_log_softmax", "_safe_softmax", "cumsum")
def along(ledger: Ledger, call: Call) -> None:
    """Over places of one channel, each place keeping its own."""
    label = ledger.roots(call.args[0])
    if varies(label, call.argument("dim")):
        ledger.atoms.freeze(thin(label)[0], MIXED)
    for result in call.results():
        ledger.set(result, label)


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d",
      "_adaptive_avg_pool3d", "adaptive_max_pool2d", "upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d",
      "_upsample_bilinear2d_aa", "upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_nearest_exact2d",
      "upsample_linear1d", "avg_pool1d", "adaptive_avg_pool1d", "mkldnn_max_pool2d")  # fmt: skip
def resized(ledger: Ledger, call: Call) -> None:
    """Over the plane of each channel, whose elements are all alike."""
    label = ledger.roots(call.args[0])
    for axis in range(2, label.dim()):
        if varies(label, axis):
            ledger.atoms.freeze(thin(label)[0], MIXED)
        label = label.narrow(axis, 0, 1)
    for result in call.results():
        ledger.set(result, label.expand(result.shape))


# --- normalisations --------------------------------------------------------------------------------------------------


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
      "miopen_batch_norm")  # fmt: skip
def batch_normed(ledger: Ledger, call: Call) -> None:
    """The second axis has the channels; every parameter and statistic goes with its channel."""
    label = ledger.ids(call.args[0])
    found = unite_along(ledger.atoms, label, [axis for axis in range(label.dim()) if axis != 1], MIXED)
    _attach(ledger, call, found.reshape(-1))
    ledger.set(call.results()[0], label)


@rule("native_layer_norm", "_fused_rms_norm")
def layer_normed(ledger: Ledger, call: Call) -> None:
    """The last axes have the channels; statistics over those that are left are what the network would compute."""
    label, axes = ledger.ids(call.args[0]), len(call.args[1])
    found = unite_along(ledger.atoms, label, range(label.dim() - axes), MIXED)
    _attach(ledger, call, found.reshape(found.shape[label.dim() - axes :]).expand(tuple(call.args[1])))
    ledger.set(call.results()[0], label)


@rule("native_group_norm")
def group_normed(ledger: Ledger, call: Call) -> None:
    """Whole groups go, as each has statistics of its own; of a single group, single channels."""
    label, groups = ledger.ids(call.args[0]), call.argument("group")
    found = unite_along(ledger.atoms, label, [axis for axis in range(label.dim()) if axis != 1], MIXED).reshape(-1)
    if groups > 1:
        unite_along(ledger.atoms, found.reshape(groups, -1), [1], MIXED)
    _attach(ledger, call, found)
    ledger.set(call.results()[0], label)


def _attach(ledger: Ledger, call: Call, channels: Int[Tensor, "..."]) -> None:
    """Tie the parameters and statistics of a norm to its channels."""
    for part in (tensor for tensor in call.tensors()[1:] if tensor.dim()):
        ledger.atoms.unite(ledger.ids(part), channels.masked_fill(channels == FREE, KEPT), ADDED)
