"""PatchGAN discriminators (Isola et al. 2017): one logit for each overlapping patch of an image."""

from typing import Literal

from torch import Tensor, nn

from favae.models.bounds import whole

DiscriminatorInit = Literal["pytorch", "normal"]
_LEAK = 0.2


class PatchDiscriminator(nn.Module):
    """`layers` 4x4 convolutions of stride 2, one of stride 1, and a head of stride 1; batch norm from the second on.

    FA-VAE uses 3 layers with PyTorch's default initialisation on faces and at down-sampling 4 (30x30 logits of a
    256x256 image, patches of 70x70), and 2 layers with `normal` for ImageNet at down-sampling 16 (62x62, patches of
    34x34). VQ-GAN uses 3 layers with `normal`. Each rank uses its own batch statistics.

    Args:
        in_channels: channels of the image.
        base_channels: channels after the first convolution; they double per layer, up to eight times the base.
        layers: convolutions of stride 2.
        init: "pytorch" leaves the default; "normal" draws convolution weights from N(0, 0.02) and batch norm gains
            from N(1, 0.02), as DCGAN and pix2pix do.

    Raises:
        ValueError: a size out of range, or unknown `init`.
    """

    def __init__(
        self, in_channels: int = 3, base_channels: int = 64, layers: int = 3, init: DiscriminatorInit = "pytorch"
    ) -> None:
        super().__init__()
        whole("discriminator.layers", layers, 12)
        whole("discriminator.base_channels", base_channels)
        whole("discriminator.in_channels", in_channels, 64)
        self.smallest_side = 3 * 2**layers  # each of the two convolutions of stride 1 removes one position
        if init not in ("pytorch", "normal"):
            raise ValueError(f"discriminator.init got {init!r}; expected 'pytorch' or 'normal'")
        stack: list[nn.Module] = [nn.Conv2d(in_channels, base_channels, 4, stride=2, padding=1), nn.LeakyReLU(_LEAK)]
        width = base_channels
        for layer in range(1, layers + 1):
            previous, width = width, base_channels * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            stack += [
                nn.Conv2d(previous, width, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(_LEAK),
            ]
        stack.append(nn.Conv2d(width, 1, 4, padding=1))
        self.stack = nn.Sequential(*stack)
        if init == "normal":
            self.apply(_init_normal)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] -> logits [B, 1, h, w], large for real. Raises ValueError if they are too small."""
        if min(x_BCHW.shape[-2:]) < self.smallest_side:
            raise ValueError(
                f"discriminator.layers: images of {tuple(x_BCHW.shape[-2:])} pixels leave no logits; expected sides of at "
                f"least {self.smallest_side}: use fewer layers or larger images"
            )
        return self.stack(x_BCHW)


def _init_normal(module: nn.Module) -> None:
    """Apply the `normal` initialisation to one module; biases of convolutions keep their default."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
