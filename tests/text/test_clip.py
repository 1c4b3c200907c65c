"""CLIP's text tower with random weights: tokens and embeddings against open_clip's own, safe loading."""

import importlib
import json

import pytest
import torch
from safetensors.torch import save_file

from favae.runtime.torchvision import ensure_torchvision
from favae.text import ClipText, TextEncoder, build_text_encoder
from favae.text.clip import text_tower

torch.set_num_threads(1)

MODEL = "small-clip-of-the-tests"
CAPTIONS = ["  She is smiling! \n", "A man with a beard.", ""]


@pytest.fixture(scope="module")
def open_clip():
    ensure_torchvision()
    return importlib.import_module("open_clip")


@pytest.fixture(scope="module")
def clip(open_clip, tmp_path_factory):
    """A whole CLIP with random weights, in open_clip's catalogue under the name MODEL."""
    config = {
        "embed_dim": 12,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    path = tmp_path_factory.mktemp("open_clip") / f"{MODEL}.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    return open_clip.create_model(MODEL).eval()


@pytest.fixture(scope="module")
def weights(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "clip.safetensors"
    save_file(clip.state_dict(), path)
    return str(path)


def test_tokens_are_open_clips(open_clip, weights):
    encoder = ClipText(weights, MODEL)
    captions = [*CAPTIONS, "smiling " * 100, "unpronounceable café naïveté"]
    ids, _ = encoder.tokenize(captions)
    assert ids.dtype == torch.int64
    assert torch.equal(ids, open_clip.get_tokenizer(MODEL)(captions))


def test_only_captions_of_more_than_77_tokens_are_cut_and_counted(weights):
    encoder = ClipText(weights, MODEL)
    fits, mask = encoder.tokenize(["smiling " * 75])
    assert encoder.truncated == 0
    assert mask.all()
    cut, _ = encoder.tokenize(["smiling " * 76, "short"])
    assert encoder.truncated == 1
    assert torch.equal(cut[0], fits[0])


def test_masks_differ_in_the_token_with_id_zero_only(weights):
    official, length = (
        ClipText(weights, MODEL, mask).tokenize(["Wow!; nice"])[1][0] for mask in ("official", "length")
    )
    assert length.tolist() == [True] * 6 + [False] * 71  # start, wow, !, ;, nice, end
    assert (official != length).nonzero().flatten().tolist() == [2]


def test_embeddings_are_clips_last_layer_normalised_and_projected(clip, weights):
    encoder = ClipText(weights, MODEL)
    ids, _ = encoder.tokenize(CAPTIONS)
    embeddings = encoder.encode(ids)
    assert embeddings.shape == (3, 77, encoder.dim) == (3, 77, 12)
    with torch.no_grad():
        x = clip.token_embedding(ids) + clip.positional_embedding
        last = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
        torch.testing.assert_close(embeddings, last @ clip.text_projection)
        # CLIP's own caption embedding is the one at the end token
        end = ids.argmax(dim=-1)
        torch.testing.assert_close(embeddings[torch.arange(3), end], clip.encode_text(ids))


def test_encoder_is_frozen_and_stays_fp32(weights):
    encoder = ClipText(weights, MODEL)
    assert isinstance(encoder, TextEncoder)
    assert not encoder.trainable
    assert not any(p.requires_grad for p in encoder.parameters())
    ids, _ = encoder.tokenize(CAPTIONS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = encoder.encode(ids)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, encoder.encode(ids))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_every_form_of_weights_gives_the_same_tower(clip, weights, tmp_path):
    expected = ClipText(weights, MODEL)
    plain, half, alone = tmp_path / "plain.pt", tmp_path / "half.safetensors", tmp_path / "tower.safetensors"
    archive = tmp_path / "archive.pt"
    torch.save({"state_dict": clip.state_dict()}, plain)
    save_file({name: value.half() for name, value in clip.state_dict().items()}, half)
    save_file(expected.tower.state_dict(), alone)
    with torch.no_grad():
        torch.jit.trace(clip, (torch.zeros(1, 3, 32, 32), torch.zeros(1, 77, dtype=torch.int64))).save(archive)
    ids, _ = expected.tokenize(CAPTIONS)
    for path in (plain, alone, archive):
        assert torch.equal(ClipText(str(path), MODEL).encode(ids), expected.encode(ids))
    rounded = ClipText(str(half), MODEL)
    assert {p.dtype for p in rounded.parameters()} == {torch.float32}
    torch.testing.assert_close(rounded.encode(ids), expected.encode(ids), rtol=0.02, atol=0.02)


def test_spec_builds_the_same_encoder(weights):
    encoder = ClipText(weights, MODEL, "length")
    again = build_text_encoder(json.loads(json.dumps(encoder.config())))
    assert again.config() == encoder.config()
    ids, _ = encoder.tokenize(CAPTIONS)
    assert torch.equal(again.encode(ids), encoder.encode(ids))


def test_vit_l14_text_tower_has_the_published_shape():
    with torch.device("meta"):
        tower = text_tower("ViT-L-14-quickgelu")
        embeddings = tower(torch.zeros(2, 77, dtype=torch.int64))
    assert embeddings.shape == (2, 77, 768)
    assert sum(p.numel() for p in tower.parameters()) == 123_650_304
    assert type(tower.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


def test_the_error_of_missing_weights_names_file_and_source(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        build_text_encoder({"kind": "clip", "weights": str(tmp_path / "ViT-L-14.pt")})
    assert str(tmp_path / "ViT-L-14.pt") in str(error.value)
    assert "https://" in str(error.value)


def test_other_files_are_refused(weights, tmp_path):
    save_file({"token_embedding.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(
        ValueError, match=r"does not contain the text tower of .* tensors are missing or of another shape"
    ):
        ClipText(str(tmp_path / "other.safetensors"), MODEL)
    with pytest.raises(ValueError, match="'no-such-model'"):
        ClipText(weights, "no-such-model")
    with pytest.raises(ValueError, match="expected 'official' or 'length'"):
        ClipText(weights, MODEL, mask="all")


def test_a_truncated_download_is_refused(clip, tmp_path):
    torch.save(clip.state_dict(), tmp_path / "whole.pt")
    save_file(clip.state_dict(), tmp_path / "whole.safetensors")
    for suffix in (".pt", ".safetensors"):
        whole = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"part{suffix}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match="cannot be read as a file of tensors: get ViT-L-14"):
            ClipText(str(tmp_path / f"part{suffix}"), MODEL)


def test_pickled_code_never_runs(tmp_path):
    class Payload:
        def __reduce__(self):
            return (exec, ("raise SystemExit('the payload ran')",))

    torch.save({"state_dict": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(SystemExit):
        torch.load(tmp_path / "evil.pt", weights_only=False)  # the payload is live
    with pytest.raises(ValueError, match="cannot be read as a file of tensors"):
        ClipText(str(tmp_path / "evil.pt"), MODEL)
