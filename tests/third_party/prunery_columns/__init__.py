"""Prune the weights that are small, seen from inputs that carry little."""

from pydantic import Field

from prunery import LayerPruner, Settings, hookimpl


class ColumnsSettings(Settings):
    """Settings of `columns`."""

    amount = "sparsity"
    sparsity: float = Field(0.5, gt=0, lt=1, description="share of each layer's weights that end as zero, 0 to 1")


class Columns(LayerPruner):
    """A weight's score is its magnitude times the norm of its column: of all weights that its input reaches."""

    name = "columns"
    Settings = ColumnsSettings

    def mask(self, key, weight, measured, generator):
        """True where a weight stays; see `LayerPruner.mask`."""
        matrix = weight.flatten(1)
        scores = (matrix.abs() * matrix.norm(dim=0)).flatten()
        ranks = scores.argsort(stable=True).argsort()
        return (ranks >= int(self.settings.sparsity * len(ranks))).view_as(weight)


@hookimpl
def register_methods():
    """The methods of this plugin."""
    return [Columns]
