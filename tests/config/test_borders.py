"""`favae check` and the constructors give the same verdict, on configurations drawn around the borders of every schema.

The constructors run on the CPU: everything is built from the raw parameters, and one forward pass and all losses run on
two small images. `check` reads the same parameters through the schemas and builds without storage.
"""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from favae.config.cat import CatConfig
from favae.config.errors import ConfigError
from favae.config.load import validate
from favae.config.training_kinds import generator_config, training_config
from favae.jobs.facts import Request, build, cat_request, training_request
from favae.losses import FocalFrequencyLoss, adaptive_weight, build_spectrum_loss, build_term
from favae.losses.gan_regularization import PathLengthPenalty
from favae.models import CAT, FAVAE, PatchDiscriminator, build_autoencoder
from favae.models.generators import build_generator
from favae.models.pix2pix import PairDiscriminator
from favae.models.spade import MultiscaleDiscriminator
from favae.models.style_discriminator import StyleDiscriminator
from favae.text import LearnedText, WordTokenizer

bounded = settings(max_examples=66, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TRAINING = {"seed": 0, "batch_size": 2, "length": "1 step", "validate_every": "1 step", "checkpoint_every": "1 step"}


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A block in which each field may be missing."""
    return st.fixed_dictionaries({}, optional=fields)


def mostly(usual: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    """Usually an accepted value, sometimes one at or beyond the border."""
    return st.sampled_from(usual * 30 + odd)


small = mostly([1, 2, 4], [0, -1, 3])
share = mostly([0, 0.1], [0.99, 1, -0.1, 1.5])
factor = mostly([0, 1, 0.5], [-1, -0.001])
QUANTIZERS = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("cosine"), "codes": mostly([8], [1, 0])},
        optional={
            "dim": mostly([4, 8], [0, 1]),
            "decay": mostly([0.8], [0, 1, 1.1, -0.1]),
            "output": st.sampled_from(["raw", "normalized"]),
            "dead_code_threshold": mostly([0, 0.1], [-1]),
        },
    ),
    st.fixed_dictionaries(
        {"kind": st.just("euclidean"), "codes": mostly([8], [1, 0])},
        optional={"dim": mostly([4], [0]), "beta": factor, "beta_on": st.sampled_from(["codebook", "commitment"])},
    ),
)
FAVAE_MODELS = st.fixed_dictionaries(
    {
        "kind": st.just("favae"),
        "image_size": mostly([16, 24], [8, 4, 12, 13, 0, 1]),
        "base_channels": mostly([8], [4, 12, 0]),
        "channel_multipliers": mostly([[1], [1, 2], [1, 1, 2]], [[], [0, 1], [1, 1, 1, 1]]),
        "res_blocks": mostly([1], [0, 2]),
        "attention_resolutions": mostly([[], []], [[8], [16], [5]]),
        "latent_channels": mostly([8], [3, 12, 0]),
        "fcm": st.sampled_from(["conv", "residual", "attention", "none"]),
        "fcm_groups": mostly([1, 4], [3, 0, 32]),
        "norm_groups": mostly([1, 4], [3, 0, 16]),
        "quantizer": QUANTIZERS,
    },
    optional={"dropout": share, "norm_eps": mostly([1e-5, 1], [0, -1]), "image_channels": mostly([1, 3], [0, 2])},
)
blurred = {
    "weight": factor,
    "kernel_size": mostly([1, 3, 5], [4, 7, 9, 15, 17, 31, 0, -3]),
    "sigma": mostly([3, 0.5], [0, -1]),
    "detach_taps": st.booleans(),
}
SPECTRA = st.one_of(
    st.just({"kind": "none"}),
    some(weight=factor, detach_taps=st.booleans()).map(lambda b: {"kind": "ffl", **b}),
    some(**blurred).map(lambda b: {"kind": "sl", **b}),
    some(
        **blurred,
        sharing=st.sampled_from(["pairwise", "per_feature"]),
        sigma_index=st.sampled_from(["paper", "official"]),
    ).map(lambda b: {"kind": "dsl", **b}),
)
OBJECTIVES = st.fixed_dictionaries(
    {
        "perceptual": st.just({"network": "none", "weight": 0}),
        "image_ffl": some(weight=factor, alpha=factor),
        "spectrum": SPECTRA,
        "adversarial": st.fixed_dictionaries(
            {"weight": st.just(1), "start": st.just("1 step")},
            optional={
                "adaptive_maximum": factor,
                "adaptive_epsilon": factor,
                "discriminator": some(
                    base_channels=small, layers=mostly([1, 2], [0, 3, 4]), init=st.sampled_from(["pytorch", "normal"])
                ),
            },
        ),
    }
)


def refused(kind: Callable[[], Request]) -> bool:
    """Whether `favae check` refuses parameters: their schema, or building and running what they describe."""
    try:
        return build(kind()).problem is not None
    except ConfigError:
        return True


def fails(build_and_run: Callable[[], object]) -> bool:
    """Whether the constructors, or the first step, refuse them."""
    torch.manual_seed(0)
    try:
        build_and_run()
    except (ValueError, RuntimeError):
        return True
    return False


def assert_both(verdicts: list[bool]) -> None:
    """If all draws were refused, or all accepted, nothing would be compared."""
    assert 0.1 < sum(verdicts) / len(verdicts) < 0.9


def checked(tree: dict[str, Any]) -> Request:
    return training_request(validate(training_config, tree, "drawn"))


def step_of_favae(tree: dict[str, Any]) -> None:
    model = FAVAE.from_config({k: v for k, v in tree["model"].items() if k != "kind"})
    adversarial = tree["objective"]["adversarial"]
    judge = PatchDiscriminator(model.config["image_channels"], **adversarial.get("discriminator", {}))
    spectrum = build_spectrum_loss(**tree["objective"]["spectrum"])
    image_ffl = FocalFrequencyLoss(**tree["objective"]["image_ffl"])
    image = torch.rand(2, model.config["image_channels"], model.config["image_size"], model.config["image_size"])
    output = model(image)
    total = output.commitment_loss + spectrum(output.pairs()) + image_ffl(output.reconstruction, image)
    (total - judge(output.reconstruction).mean()).backward()
    names = {"adaptive_maximum": "maximum", "adaptive_epsilon": "eps"}
    adaptive_weight(torch.ones(()), torch.ones(()), **{names[k]: v for k, v in adversarial.items() if k in names})


def test_check_refuses_an_fa_vae_exactly_where_building_or_its_first_step_fails() -> None:
    verdicts = []

    @bounded
    @given(model=FAVAE_MODELS, objective=OBJECTIVES)
    def compare(model: dict[str, Any], objective: dict[str, Any]) -> None:
        tree = {"model": model, "objective": objective, "optimizer": {"base_lr": 1e-3}, "training": TRAINING}
        verdicts.append(fails(lambda: step_of_favae(tree)))
        assert refused(lambda: checked(tree)) == verdicts[-1]

    compare()
    assert_both(verdicts)


LATENT_MODELS = st.one_of(
    some(image_size=mostly([28, 16], [8, 4, 10, 0]), image_channels=mostly([1], [0, 3]), latent=small).map(
        lambda b: {"kind": "stft_vae", **b}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("ffl_ae"), "image_size": mostly([16, 9], [0, 1, -2])},
        optional={"image_channels": small, "hidden": small},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("ffl_vae"), "image_size": mostly([8, 16], [4, 12, 0, -8])},
        optional={"image_channels": small, "latent": small, "base_channels": small, "max_channels": small},
    ),
)
TERMS = st.one_of(
    some(weight=factor).flatmap(
        lambda b: st.sampled_from(["mse", "l1", "ssim", "spectral_regularization"]).map(
            lambda kind: {"kind": kind, **b}
        )
    ),
    some(
        weight=factor,
        amplitude=factor,
        phase=factor,
        window=mostly([4, 8], [16, 20, 3, 0]),
        stride=mostly([2, 4], [0, -1, 40]),
        form=st.sampled_from(["paper", "official"]),
        taper=st.sampled_from(["hann", "none"]),
    ).map(lambda b: {"kind": "stft", **b}),
    some(
        weight=factor,
        alpha=factor,
        patch_factor=mostly([1, 2], [0, 3, 5]),
        representation=st.sampled_from(["full", "full", "dct", "without_phase", "without_frequency"]),
        spectra=st.sampled_from(["image", "batch_mean"]),
    ).map(lambda b: {"kind": "ffl", **b}),
)


def step_of_companion(tree: dict[str, Any]) -> None:
    model = build_autoencoder(tree["model"])
    terms = [build_term(data_range=2.0, **term) for term in tree["objective"]["terms"].values()]
    image = torch.rand(2, model.config["image_channels"], model.config["image_size"], model.config["image_size"])
    output, _ = model(image, torch.randn(2, model.latent) if model.latent else None)
    torch.stack([term(output, image) for term in terms]).sum().backward()


def test_check_refuses_a_companion_exactly_where_building_or_its_first_step_fails() -> None:
    verdicts = []

    @bounded
    @given(model=LATENT_MODELS, terms=st.lists(TERMS, min_size=1, max_size=2))
    def compare(model: dict[str, Any], terms: list[dict[str, Any]]) -> None:
        objective = {"terms": {f"t{i}": term for i, term in enumerate(terms)}, "kl": 0}
        optimizer = {"schedule": {"kind": "constant", "rate": 1e-3}}
        tree = {"model": model, "objective": objective, "optimizer": optimizer, "training": TRAINING}
        verdicts.append(fails(lambda: step_of_companion(tree)))
        assert refused(lambda: checked(tree)) == verdicts[-1]

    compare()
    assert_both(verdicts)


CATS = st.fixed_dictionaries(
    {"layers": mostly([1], [0, 2]), "dim": mostly([8], [0, 5]), "heads": small, "head_dim": small},
    optional={
        "feedforward_multiplier": small,
        "dropout": share,
        "relative_position": st.sampled_from(["official", "aligned"]),
        "key_value": st.sampled_from(["shared", "separate"]),
        "token_embedding_std": mostly([1, 0.1], [0, -1]),
    },
)
TEXTS = st.fixed_dictionaries(
    {"kind": st.just("learned"), "dim": mostly([8, 12], [0, 5, 7])},
    optional={"layers": mostly([1], [0]), "heads": small, "dropout": share, "max_tokens": mostly([4], [0, 1])},
)


def step_of_cat(model: dict[str, Any], text: dict[str, Any]) -> None:
    options = {k: v for k, v in text.items() if k not in ("kind", "max_tokens")}
    length = {"max_tokens": text["max_tokens"]} if "max_tokens" in text else {}
    encoder = LearnedText(WordTokenizer(["a"], **length), **options)
    cat = CAT(codes=8, grid=(2, 2), text_dim=encoder.dim, **model)
    ids, mask = encoder.tokenize(["a", "a a"])
    cat.loss(torch.zeros(2, 4, dtype=torch.int64), encoder.encode(ids), mask).backward()


def test_check_refuses_a_cat_exactly_where_building_or_its_first_step_fails() -> None:
    verdicts = []

    @bounded
    @given(model=CATS, text=TEXTS)
    def compare(model: dict[str, Any], text: dict[str, Any]) -> None:
        optimizer = {"base_lr": 1e-3, "warmup": "1 step"}
        tree = {"model": model, "text": text, "optimizer": optimizer, "training": TRAINING}
        verdicts.append(fails(lambda: step_of_cat(model, text)))
        assert refused(lambda: cat_request(validate(CatConfig, tree, "drawn"), 8, 2)) == verdicts[-1]

    compare()
    assert_both(verdicts)


BATCH_TERMS = some(
    weight=factor, alpha=factor, spectra=st.sampled_from(["batch_mean", "batch_power"]), across_ranks=st.just("local")
).map(lambda b: {"kind": "batch_ffl", **b})
PATH = some(weight=factor, decay=mostly([0.1, 1], [0, 1.5]), across_ranks=st.sampled_from(["global", "local"]))
spectral = st.sampled_from(["released", "all", "none"])
GENERATORS = st.one_of(
    st.fixed_dictionaries(
        {
            "model": st.fixed_dictionaries(
                {
                    "kind": st.just("pix2pix"),
                    "image_size": mostly([32], [16, 48, 0]),
                    "base_channels": mostly([2], [0]),
                },
                optional={
                    "in_channels": mostly([1, 3], [0]),
                    "norm": st.sampled_from(["batch", "instance"]),
                    "dropout_levels": st.sampled_from(["pytorch", "lua"]),
                },
            ),
            "discriminator": st.fixed_dictionaries(
                {"base_channels": mostly([2], [0]), "layers": mostly([1, 2], [0, 4])}
            ),
            "terms": st.lists(TERMS, max_size=1),
        }
    ),
    st.fixed_dictionaries(
        {
            "model": st.fixed_dictionaries(
                {
                    "kind": st.just("spade"),
                    "image_size": mostly([32, 64], [40]),
                    "map_channels": mostly([3], [0]),
                    "base_channels": mostly([1], [0]),
                    "hidden": mostly([2], [0]),
                },
                optional={
                    "norm": st.sampled_from(["batch", "sync_batch", "instance"]),
                    "upsamplings": st.sampled_from(["normal", "more"]),
                    "spectral_norm": spectral,
                },
            ),
            "discriminator": st.fixed_dictionaries(
                {"base_channels": mostly([2], [0]), "layers": mostly([2, 3], [1])},
                optional={"scales": mostly([1, 2], [0])},
            ),
            "terms": st.lists(TERMS, max_size=1),
        }
    ),
    st.fixed_dictionaries(
        {
            "model": st.fixed_dictionaries(
                {
                    "kind": st.just("stylegan2"),
                    "image_size": mostly([8, 16], [4, 12]),
                    "base_channels": mostly([32], [4]),
                    "max_channels": mostly([4], [0]),
                    "z": mostly([4], [0]),
                    "w": mostly([4], [0]),
                    "mapping_layers": mostly([1], [0]),
                }
            ),
            "discriminator": st.fixed_dictionaries(
                {"base_channels": mostly([32], [4]), "max_channels": mostly([4], [0])},
                optional={"group": mostly([1, 2], [0])},
            ),
            "path": PATH,
            "terms": st.lists(BATCH_TERMS, max_size=1),
        }
    ),
)


def generator_tree(drawn: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a training, from what was drawn."""
    objective: dict[str, Any] = {"terms": {f"t{i}": term for i, term in enumerate(drawn["terms"])}}
    optimizer: dict[str, Any] = {
        "generator_lr": 1e-3,
        "discriminator_lr": 1e-3,
        "betas": [0.5, 0.9],
        "schedule": {"constant": 1},
    }
    if "path" in drawn:
        objective |= {"r1": {"gamma": 1}, "path_length": drawn["path"]}
        optimizer = {"lr": 1e-3}
    training = {**TRAINING, "selection": "last"}
    blocks = {name: drawn[name] for name in ("model", "discriminator")}
    return {**blocks, "objective": objective, "optimizer": optimizer, "training": training}


def step_of_generator(tree: dict[str, Any]) -> None:
    """Build both networks and all losses from the raw parameters, and run them on two images."""
    model, discriminator = tree["model"], tree["discriminator"]
    network, side = build_generator(model), model["image_size"]
    terms = [build_term(data_range=2.0, **term) for term in tree["objective"]["terms"].values()]
    if model["kind"] == "stylegan2":
        judge: Any = StyleDiscriminator(side, **discriminator)
        penalty = PathLengthPenalty(**tree["objective"]["path_length"])
        w = network.styles(torch.randn(2, model["z"]))  # type: ignore[operator]
        fake = network.synthesis(w)  # type: ignore[operator]
        loss = judge(fake).mean() + penalty(fake, w)
    elif model["kind"] == "spade":
        judge, maps = (
            MultiscaleDiscriminator(model["map_channels"], **discriminator),
            torch.rand(2, model["map_channels"], side, side),
        )
        fake = network(maps)
        loss = torch.stack([scale[-1].mean() for scale in judge(maps, fake)]).sum()
    else:
        channels = model.get("in_channels", 3)
        judge, condition = PairDiscriminator(channels, **discriminator), torch.rand(2, channels, side, side)
        fake = network(condition)
        loss = judge(condition, fake).mean()
    torch.stack([loss, *(term(fake, torch.rand_like(fake)) for term in terms)]).sum().backward()


def test_check_refuses_a_generator_exactly_where_building_or_its_first_step_fails() -> None:
    verdicts = []

    @settings(bounded, max_examples=40)
    @given(drawn=GENERATORS)
    def compare(drawn: dict[str, Any]) -> None:
        tree = generator_tree(drawn)
        verdicts.append(fails(lambda: step_of_generator(tree)))
        assert refused(lambda: training_request(validate(generator_config, tree, "drawn"))) == verdicts[-1]

    compare()
    assert_both(verdicts)
