"""The layers of VGG networks, numbered as in torchvision."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from prunery import PruneryError

WIDTHS = (64, 128, 256, 512, 512)
"""Output channels of the convolutions in each of the five blocks; a pool ends a block."""
BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each block, by the number of layers with weights (Simonyan and Zisserman 2015, table 1)."""


class VggNetwork(nn.Module):
    """Images `[B, C, H, W]` to logits.

    `cifar`: a batch norm behind every convolution, global average pool, head 512-512-classes.
    `imagenet`: no batch norm, pool to 7 x 7, head 4096-4096-classes.
    """

    def __init__(self, channels: int, classes: int, depth: int, variant: str, dropout: float) -> None:
        super().__init__()
        small = variant == "cifar"
        self.features = nn.Sequential(*_features(channels, BLOCKS[depth], normed=small))
        self.avgpool = nn.AdaptiveAvgPool2d(1 if small else 7)
        inputs, hidden = (512, 512) if small else (512 * 7 * 7, 4096)
        self.classifier = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def _features(channels: int, blocks: tuple[int, ...], normed: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width, count in zip(WIDTHS, blocks, strict=True):
        for _ in range(count):
            norm = [nn.BatchNorm2d(width)] if normed else []
            layers += [nn.Conv2d(channels, width, 3, padding=1), *norm, nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def initialise(network: nn.Module) -> None:
    """torchvision's: kernels He-normal over fan out, linear weights normal 0.01, biases 0, batch norm 1 and 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def imagenet_weights(depth: int) -> dict[str, Tensor]:
    """torchvision's VGG trained on ImageNet (0.5 GB). Raises `PruneryError` if it cannot be had."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(f"vgg{depth}")["IMAGENET1K_V1"]
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        raise PruneryError(
            f"model 'vgg': torchvision's weights cannot be fetched ({error}): connect once, or set pretrained: false"
        ) from error
