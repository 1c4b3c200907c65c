"""Requirements of a reimplementation, and the tests of each of them.

| item | what |
|---|---|
| 1 | FFL: equals MSE with weight one (Parseval), at most MSE, scales by the square, weights detached |
| 2 | blur kernel sums to one; constants pass unchanged; DSL falls as sigma grows |
| 3 | shapes of taps and complements at f = 4, 8, 16; A_i goes with C_{3-i} |
| 4 | `sigma_index` gives the sigmas of the paper or of the official code |
| 5 | quantiser: index ignores the length of z; moving average; no update in evaluation or D step; two ranks are one |
| 6 | adaptive weight at a last layer |
| 7 | conv FCM that is silent leaves the decoder without FCM; residual FCM: C = B + branch(B) |
| 8 | CAT: causal; without text independent of captions; cache equals full passes; frozen codebook bit-identical |
| 9 | sizes of top-k and top-p sets |
| 10 | LFD = ln(H W MSE_255 + 1) |
| 11 | STFT of 4x4 windows: STFT-VAE is none of these experiments (`workflow/docs/quirks.md`, quirks 55 to 59) |
| 12 | parameter counts of autoencoders, discriminators, CAT |
"""

import re
from pathlib import Path

import pytest
import torch

from favae.evaluation.image_metrics import lfd
from favae.losses import FocalFrequencyLoss
from favae.models import CAT, FAVAE

TESTS = Path(__file__).parents[1]
HELD_BY = {
    1: (
        "losses/test_frequency.py::test_never_more_than_the_mean_squared_error_and_equal_to_it_with_weight_one",
        "losses/test_frequency.py::test_scaling_both_images_scales_the_loss_by_the_square",
        "losses/test_frequency.py::test_error_at_one_frequency_costs_its_mean_squared_error",
        "losses/test_frequency.py::test_equal_images_have_no_loss_and_no_gradient",
        "fidelity/test_acceptance.py::test_ffl_gradient_is_that_of_constant_weights",
    ),
    2: (
        "losses/test_spectrum.py::test_kernel_is_a_sampled_gaussian_with_sum_one",
        "losses/test_spectrum.py::test_blur_keeps_a_constant_up_to_the_largest_legal_kernel",
        "losses/test_spectrum.py::test_on_natural_spectra_the_loss_decreases_with_sigma",
    ),
    3: ("models/test_autoencoder.py::test_taps_and_complements_have_the_published_places_and_pair_up",),
    4: ("losses/test_spectrum.py::test_official_indices_give_a_pair_the_sigmas_of_opposite_ends",),
    5: (
        "models/test_quantizers.py::test_cosine_index_does_not_depend_on_the_length_of_z",
        "models/test_quantizers.py::test_moving_average_of_several_batches",
        "models/test_quantizers.py::test_the_codebook_is_bit_identical_in_evaluation_and_without_update",
        "models/test_quantizers.py::test_two_processes_learn_the_codebook_of_one_on_both_batches",
        "fidelity/test_training.py::test_two_ranks_take_the_step_of_one_process_on_the_union_batch",
        "fidelity/test_training.py::test_the_official_codebook_is_updated_again_in_the_d_step",
    ),
    6: (
        "losses/test_adversarial.py::test_adaptive_weight_is_the_ratio_of_gradient_norms_at_the_last_layer",
        "fidelity/test_training.py::test_adaptive_weight_of_a_step_is_the_ratio_of_gradients_at_the_last_layer",
    ),
    7: (
        "models/test_autoencoder.py::test_silent_fcms_leave_a_decoder_without_them",
        "models/test_autoencoder.py::test_residual_complement_is_the_whole_feature",
    ),
    8: (
        "models/test_cat.py::test_a_code_changes_later_logits_only",
        "models/test_cat.py::test_dropped_text_and_hidden_tokens_have_no_influence",
        "models/test_cat_generate.py::test_cached_sampling_equals_two_full_passes_per_token",
        "fidelity/test_text_to_image.py::test_codebook_and_weights_are_bit_identical_after_cat_training",
    ),
    9: (
        "models/test_cat_sampling.py::test_top_k_keeps_exactly_the_k_largest",
        "models/test_cat_sampling.py::test_top_p_set_sizes_in_a_batch_against_numpy",
    ),
    10: (
        "evaluation/test_image_metrics.py::test_lfd_is_the_unnormalised_spectral_distance",
        "fidelity/test_acceptance.py::test_lfd_is_a_function_of_the_squared_error",
    ),
    12: (
        "models/test_autoencoder_sizes.py::test_parameter_count_is_the_published_one",
        "models/test_cat.py::test_parameter_counts_of_the_official_sizes",
        "fidelity/test_acceptance.py::test_parameter_counts_agree_with_the_published_ones",
    ),
}


def test_every_item_has_a_test() -> None:
    items = [int(number) for number in re.findall(r"^\| (\d+) \|", __doc__, flags=re.MULTILINE)]
    assert items == list(range(1, 13))
    assert set(HELD_BY) == set(items) - {11}


@pytest.mark.parametrize("item", HELD_BY)
def test_the_tests_of_an_item_exist(item: int) -> None:
    for name in HELD_BY[item]:
        file, _, test = name.partition("::")
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), flags=re.MULTILINE), f"no test {name}"


def test_ffl_gradient_is_that_of_constant_weights() -> None:
    """2 w D / count, brought back to the image: nothing is differentiated through w."""
    generator = torch.Generator().manual_seed(0)
    pred, target = (torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator) for _ in "pt")
    pred.requires_grad_()
    FocalFrequencyLoss()(pred, target).backward()
    spectrum = torch.fft.fft2((pred - target).detach(), norm="ortho")
    weight = spectrum.abs() / spectrum.abs().amax((-2, -1), keepdim=True)
    expected = torch.fft.ifft2(2 * weight * spectrum / spectrum.numel(), norm="ortho").real
    torch.testing.assert_close(pred.grad, expected)


def test_lfd_is_a_function_of_the_squared_error() -> None:
    """ln(H W MSE_255 + 1): a function of PSNR."""
    mse = torch.tensor([0.01, 0.2], dtype=torch.float64)  # of images in [-1, 1]
    expected = torch.log(64 * 64 * mse * 127.5**2 + 1)
    torch.testing.assert_close(lfd(mse, 64, 64), expected)


def test_parameter_counts_agree_with_the_published_ones() -> None:
    """The whole list, printed (`pytest -s`): the counts of the official networks, and ours."""
    f4 = {"channel_multipliers": (1, 2, 4), "attention_resolutions": (), "latent_channels": 3, "fcm_groups": 3}
    f4["quantizer"] = {"kind": "cosine", "codes": 8192, "dim": 256}
    f8 = {"channel_multipliers": (1, 2, 2, 4), "attention_resolutions": (32,)}
    # The release's CAT has 1.2 M more: a projection of the text that its forward pass never uses.
    unused = 768 * 1536 / 1e6
    with torch.device("meta"):
        networks = {
            "FA-VAE, f = 16": (FAVAE(), 82.7, 0.0),
            "FA-VAE, f = 8": (FAVAE(**f8), 81.0, 0.0),
            "FA-VAE, f = 4": (FAVAE(**f4), 65.0, 0.0),
            "CAT, gpt2_medium": (CAT(), 611.0, unused),
        }
    for name, (network, published, left_out) in networks.items():
        millions = sum(p.numel() for p in network.parameters()) / 1e6 + left_out
        print(f"{name:18} ours {millions:8.2f} M, published {published:6.1f} M")
        assert round(millions, 0 if published > 100 else 1) == published
