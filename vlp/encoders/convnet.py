"""A small convolutional tower: from few images on few cores it learns much faster than a transformer does."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Stages of 3 x 3 convolutions, each halving the image: [B, C, H, W] to [B, channels[-1], H / stride, W / stride].

    Group normalisation: no running statistics, so that masked and whole images, an EMA teacher and several processes
    agree.

    Attributes:
        num_features: channels of the last stage.
        stride: side in pixels of the square that one cell of the result stands for.
    """

    def __init__(self, in_chans: int, channels: Sequence[int], extra: Sequence[int]) -> None:
        """``extra``: convolutions of each stage beyond the one that halves."""
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_chans
        for width, more in zip(channels, extra, strict=True):
            layers += _layer(inputs, width, 2)
            for _ in range(more):
                layers += _layer(width, width, 1)
            inputs = width
        self.stages = nn.Sequential(*layers)
        self.num_features = inputs
        self.stride = 2 ** len(channels)

    def forward_features(self, images: Tensor) -> Tensor:
        """[B, C, H, W] to [B, num_features, h, w]."""
        return self.stages(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_features(images)


def _layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.GroupNorm(max(1, outputs // 8), outputs), nn.ReLU()]
