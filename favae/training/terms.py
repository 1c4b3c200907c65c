"""Building the terms of an objective, those with pretrained networks included."""

from collections.abc import Mapping

from torch import Tensor, nn

from favae.config.errors import blaming
from favae.config.evaluation import LpipsNet
from favae.config.kinds import TermSchema
from favae.config.terms import PerceptualTermConfig, VggTermConfig
from favae.losses import build_term
from favae.losses.perceptual import PerceptualLoss, Vgg19Features


class Pretrained:
    """Loads the networks of perceptual terms from declared weights."""

    def lpips(self, network: LpipsNet) -> nn.Module:
        """LPIPS of a network."""
        from favae.pretrained.lpips import load_lpips

        return load_lpips(network)

    def vgg19(self) -> nn.Module:
        """Features of VGG19."""
        from favae.pretrained.weights import load_weights

        network, (state, _) = Vgg19Features(), load_weights("vgg19")
        network.load_state_dict({name: value for name, value in state.items() if name in network.state_dict()})
        return network


class _Lpips(nn.Module):
    """weight * mean LPIPS of images in [-1, 1]."""

    def __init__(self, weight: float, lpips: nn.Module) -> None:
        super().__init__()
        self.weight, self.lpips = weight, lpips

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.weight * self.lpips(pred, target).mean()


class _Vgg19(nn.Module):
    """weight * perceptual loss of SPADE."""

    def __init__(self, weight: float, loss: PerceptualLoss) -> None:
        super().__init__()
        self.weight, self.loss = weight, loss

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.weight * self.loss(pred, target)


def build_terms(
    terms: Mapping[str, TermSchema], data_range: float, pretrained: Pretrained | None = None
) -> dict[str, nn.Module]:
    """The terms by name.

    Args:
        terms: their parameters.
        data_range: range of the images that they compare: 1 for [0, 1], 2 for [-1, 1].
        pretrained: where the networks of perceptual terms come from.

    Raises:
        BadKey: a constructor refuses a term, or a perceptual term compares images that are not in [-1, 1].
    """
    return {name: _build(name, term, data_range, pretrained or Pretrained()) for name, term in terms.items()}


def _build(name: str, term: TermSchema, data_range: float, pretrained: Pretrained) -> nn.Module:
    with blaming("objective", "terms", name):
        if not isinstance(term, PerceptualTermConfig | VggTermConfig):
            return build_term(data_range=data_range, **term.given())
        if data_range != 2.0:
            name = "LPIPS" if isinstance(term, PerceptualTermConfig) else "VGG19"
            raise ValueError(f"{name} compares images in [-1, 1]: set objective.scale to signed")
        if isinstance(term, PerceptualTermConfig):
            return _Lpips(term.weight, pretrained.lpips(term.network))
        given = term.given()
        arguments = {key: given[key] for key in ("network_input",) if key in given}
        return _Vgg19(term.weight, PerceptualLoss(pretrained.vgg19(), **arguments))
