"""Every default and choice is stated once: the fields of a schema are arguments of a constructor, which has the defaults."""

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

from favae.config import cat, favae, pix2pix, segmentation, spade, stylegan2, terms
from favae.config.kinds import ffl, stft_vae
from favae.losses import (
    DynamicSpectrumLoss,
    FeatureFrequencyLoss,
    FocalFrequencyLoss,
    SpectralRegularization,
    SpectrumLoss,
    SSIMLoss,
    STFTLoss,
    adaptive_weight,
    build_spectrum_loss,
)
from favae.losses.batch_spectrum import BatchFrequencyLoss
from favae.losses.terms import PixelLoss, build_ffl
from favae.models import CAT, FAVAE, FflVAE, PatchDiscriminator, StftVAE, VanillaAutoencoder
from favae.models.pix2pix import PairDiscriminator, UnetGenerator
from favae.models.quantizers import CosineQuantizer, EuclideanQuantizer
from favae.models.segmenter import Segmenter
from favae.models.spade import MultiscaleDiscriminator
from favae.models.style_discriminator import StyleDiscriminator
from favae.models.stylegan2 import StyleGenerator
from favae.text import ClipText, LearnedText, WordTokenizer

CONSTRUCTORS: dict[type[BaseModel], tuple[Callable[..., Any], ...]] = {
    favae.FavaeModelConfig: (FAVAE,),
    favae.CosineQuantizerConfig: (CosineQuantizer,),
    favae.EuclideanQuantizerConfig: (EuclideanQuantizer,),
    favae.ImageFflConfig: (FocalFrequencyLoss,),
    favae.FeatureFflConfig: (FeatureFrequencyLoss,),
    favae.SpectrumConfig: (SpectrumLoss,),
    favae.DynamicSpectrumConfig: (DynamicSpectrumLoss,),
    favae.DiscriminatorConfig: (PatchDiscriminator,),
    stft_vae.StftVaeModelConfig: (StftVAE,),
    ffl.FflAutoencoderModelConfig: (VanillaAutoencoder,),
    ffl.FflVaeModelConfig: (FflVAE,),
    terms.MseConfig: (PixelLoss,),
    terms.L1Config: (PixelLoss,),
    ffl.BatchFflConfig: (BatchFrequencyLoss,),
    pix2pix.UnetModelConfig: (UnetGenerator,),
    pix2pix.PairDiscriminatorConfig: (PairDiscriminator,),
    spade.MultiscaleDiscriminatorConfig: (MultiscaleDiscriminator,),
    stylegan2.StyleModelConfig: (StyleGenerator,),
    stylegan2.StyleDiscriminatorConfig: (StyleDiscriminator,),
    segmentation.SegmenterModelConfig: (Segmenter,),
    stft_vae.SsimConfig: (SSIMLoss,),
    stft_vae.StftConfig: (STFTLoss,),
    ffl.FflConfig: (build_ffl, FocalFrequencyLoss),
    ffl.SpectralRegularizationConfig: (SpectralRegularization,),
    cat.CatModelConfig: (CAT,),
    cat.LearnedTextConfig: (LearnedText, WordTokenizer, WordTokenizer.from_captions),
    cat.ClipTextConfig: (ClipText,),
}
FIELDS = [(schema, name) for schema in CONSTRUCTORS for name in schema.model_fields if name != "kind"]


def arguments(callables: tuple[Callable[..., Any], ...]) -> dict[str, tuple[inspect.Parameter, Any]]:
    """Arguments by name with their types, through `**shared` to the base classes."""
    found: dict[str, tuple[inspect.Parameter, Any]] = {}
    for function in callables:
        inits = [c.__init__ for c in inspect.getmro(function)] if inspect.isclass(function) else [function]
        for init in inits:
            hints = get_type_hints(init) if inspect.isfunction(init) or inspect.ismethod(init) else {}
            for name, parameter in inspect.signature(init).parameters.items():
                found.setdefault(name, (parameter, hints.get(name)))
    return found


@pytest.mark.parametrize(("schema", "name"), FIELDS, ids=lambda v: getattr(v, "__name__", v))
def test_a_field_is_an_argument_with_the_same_choices_and_no_second_default(schema: type[BaseModel], name: str) -> None:
    field = schema.model_fields[name]
    argument, hint = arguments(CONSTRUCTORS[schema])[name]
    assert field.is_required() == (argument.default is inspect.Parameter.empty)
    assert field.is_required() or field.default is None
    assert not field.metadata or name == "min_count"  # the constructor checks ranges
    if get_origin(hint) is Literal:
        assert set(get_args(field.annotation)) == set(get_args(hint))


@pytest.mark.parametrize("schema", CONSTRUCTORS, ids=lambda s: s.__name__)
def test_missing_keys_are_not_passed_and_null_is_refused(schema: type[BaseModel]) -> None:
    required = {name: 4 for name, field in schema.model_fields.items() if field.is_required() and name != "kind"}
    if "weights" in required:
        required["weights"] = "file"
    if "kind" in schema.model_fields:
        required["kind"] = get_args(schema.model_fields["kind"].annotation)[0]
    assert schema.model_validate(required).given() == required  # type: ignore[attr-defined]
    for name, field in schema.model_fields.items():
        if not field.is_required():
            with pytest.raises(ValidationError):
                schema.model_validate({**required, name: None})


def test_what_a_notebook_builds_is_what_a_training_builds() -> None:
    """Kernel sizes once differed: 5 as a class, 9 by name."""
    assert build_spectrum_loss("sl").kernel_size == SpectrumLoss().kernel_size == 5
    assert build_spectrum_loss("dsl").kernel_size == DynamicSpectrumLoss().kernel_size == 9
    assert {build_spectrum_loss(kind).weight for kind in ("ffl", "sl", "dsl")} == {0.01}
    assert FocalFrequencyLoss().weight == 1.0
    assert set(inspect.signature(adaptive_weight).parameters) >= {"maximum", "eps"}
