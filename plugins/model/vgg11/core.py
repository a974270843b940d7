"""The layers of VGG-11, numbered as in torchvision."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from prunery import PruneryError

POOL = None
PLAN = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL)
"""Output channels of each convolution, and the five pools."""


class Vgg11Network(nn.Module):
    """Images `[B, C, H, W]` to logits.

    `cifar`: a batch norm behind every convolution, global average pool, head 512-512-classes.
    `imagenet`: no batch norm, pool to 7 x 7, head 4096-4096-classes.
    """

    def __init__(self, channels: int, classes: int, variant: str, dropout: float) -> None:
        super().__init__()
        small = variant == "cifar"
        self.features = nn.Sequential(*_features(channels, normed=small))
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


def _features(channels: int, normed: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in PLAN:
        if width is POOL:
            layers.append(nn.MaxPool2d(2))
            continue
        norm = [nn.BatchNorm2d(width)] if normed else []
        layers += [nn.Conv2d(channels, width, 3, padding=1), *norm, nn.ReLU()]
        channels = width
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


def imagenet_weights() -> dict[str, Tensor]:
    """torchvision's VGG-11 trained on ImageNet (507 MB). Raises `PruneryError` if it cannot be had."""
    from torchvision.models import VGG11_Weights

    try:
        return dict(VGG11_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        raise PruneryError(
            f"model 'vgg11': torchvision's weights cannot be fetched ({error}): connect once, or set pretrained: false"
        ) from error
