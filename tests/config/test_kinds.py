"""A kind is added by files alone: its schema, its network and its losses are found where they lie."""

from ast import literal_eval
from pathlib import Path

import pytest

import favae.config.kinds
from favae.config.companions import LatentModelConfig
from favae.config.errors import BadKey
from favae.config.kinds import kinds_in
from favae.config.terms import TermConfig
from favae.config.training_kinds import training_config
from favae.losses import build_term
from favae.models import AUTOENCODERS

_FILES = Path(favae.config.kinds.__file__).parent


def test_every_kind_of_a_schema_has_a_network_or_a_loss_and_vice_versa() -> None:
    assert set(kinds_in(LatentModelConfig)) | {"favae"} == set(AUTOENCODERS)
    with pytest.raises(ValueError) as error:
        build_term("none", 2.0)
    listed = str(error.value).partition("expected one of ")[2]
    assert set(kinds_in(TermConfig)) - {"perceptual", "vgg19"} == set(literal_eval(listed))


@pytest.mark.parametrize("kind", AUTOENCODERS)
def test_the_kind_of_a_model_selects_the_schema_that_accepts_it(kind: str) -> None:
    schema = training_config({"model": {"kind": kind}})
    assert kind in kinds_in(schema.model_fields["model"].annotation)


@pytest.mark.parametrize(("model", "said"), [({}, "missing"), ({"kind": "ffl_ea"}, "ffl_ae"), (None, "missing")])
def test_an_unknown_kind_is_refused_with_the_closest_ones(model: object, said: str) -> None:
    with pytest.raises(BadKey, match=said):
        training_config({"model": model})


def test_no_kind_is_listed_outside_its_own_files() -> None:
    """The five files of a new paper: network, losses, schema, recipe, published numbers."""
    package = _FILES.parents[1]
    listing = [
        "config/training_kinds.py",
        "config/companions.py",
        "config/terms.py",
        "models/__init__.py",
        "losses/terms.py",
    ]
    for name in listing:
        text = (package / name).read_text(encoding="utf-8")
        assert not [kind for kind in ("stft", "ffl_ae", "ffl_vae", "stft_vae") if f'"{kind}"' in text], name
