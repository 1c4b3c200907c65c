"""`favae reconstruct`: a user's own images of any size and mode; the user's files are safe, and no image stops the others."""

import json
import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reconstruct_support import MODEL, tiny_model
from tests_support import ROOT, call, environment

from favae.data.pixels import to_float, to_uint8
from favae.inference.export import load_autoencoder
from favae.inference.reconstruct import reconstruct_files
from favae.inference.targets import plan
from favae.inference.tiling import (
    TILE_LATENT,
    WHOLE_SIDE,
    Tiling,
    reconstruct_any_size,
    reconstruct_pixels,
    tilings,
)
from favae.models import FAVAE

MODEL_FOLDER = Path("model")


def _run(model: Path, out: Path, *images: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = call(ROOT, "favae", "reconstruct", *map(str, images), "--model", str(model), "--out", str(out), check=False)
    assert done.returncode == code, done.stderr
    return done


def _targets(out: Path, *images: Path) -> list[str]:
    return [item.target.relative_to(out).as_posix() for item in plan(images, out, MODEL_FOLDER)[0]]


def test_saved_and_loaded_weights_are_the_same_model(model: Path) -> None:
    torch.manual_seed(0)
    fresh, x = FAVAE(**MODEL).eval(), torch.rand(2, 3, 16, 16) * 2 - 1
    loaded = load_autoencoder(model)  # in another memory format: the same weights, other rounding
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), fresh.state_dict().values(), strict=True)
    )
    torch.testing.assert_close(loaded.reconstruct(x), fresh.reconstruct(x))


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (5, 3)])
def test_any_size_is_reconstructed(model: Path, size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size) * 2 - 1
    out = reconstruct_any_size(load_autoencoder(model), x)
    assert out.shape == x.shape
    if size == (16, 16):
        assert torch.equal(out, load_autoencoder(model).reconstruct(x))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK", "P"])
def test_any_mode_is_reconstructed_by_the_command(model: Path, tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (19, 23, 3), dtype=np.uint8)
    path = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    Image.fromarray(pixels).convert(mode).save(path)
    out = tmp_path / "out"
    done = call(ROOT, "favae", "reconstruct", str(path), "--model", str(model), "--out", str(out))
    assert Image.open(done.stdout.strip()).size == (23, 19)


@pytest.mark.parametrize(
    ("images", "damage", "message"),
    [
        ("nowhere.png", None, "nowhere.png: missing"),
        ("photo.png", "model.safetensors", "the model's files are damaged"),
        ("photo.png", "config.json", "the model's files are damaged"),
    ],
)
def test_errors_are_one_line(model: Path, tmp_path: Path, images: str, damage: str | None, message: str) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    if damage:
        (model / damage).write_bytes(b"{broken")
    done = call(
        ROOT,
        "favae",
        "reconstruct",
        str(tmp_path / images),
        "--model",
        str(model),
        "--out",
        str(tmp_path / "o"),
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_of_another_kind_is_named_with_the_command_that_takes_it(model, image, tmp_path):
    photo, out = image("a.png"), tmp_path / "out"
    done = call(ROOT, "favae", "translate", str(photo), "--model", str(model), "--out", str(out), check=False)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        f"favae: {model} holds the weights of kind 'autoencoder', expected 'generator'; use favae reconstruct"
    ]
    config = model / "config.json"
    for kind, advice in (("generator", "; use favae translate or favae sample\n"), ("cat", "expected 'autoencoder'\n")):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"kind": kind}))
        assert _run(model, out, photo, code=1).stderr.endswith(advice)


def test_a_folder_that_cannot_be_made_is_named_in_words(model, image, tmp_path):
    done = _run(model, Path("/proc/nowhere"), image("a.png"), code=1)
    assert "a.png: /proc/nowhere/a.png cannot be written: No such file or directory" in done.stderr
    asked = call(ROOT, "favae", "study-result", str(tmp_path / "none.json"), check=False)
    assert asked.stderr == f"favae: {tmp_path / 'none.json'}: No such file or directory\n"


def test_the_command_refuses_to_replace_an_image_by_its_reconstruction(model, image):
    original = image("own/photo.png")
    other = image("own/other.bmp")
    before = original.read_bytes()
    done = _run(model, original.parent, other, original, code=1)
    assert "is the image" in done.stderr and "nothing was written" in done.stderr and len(done.stderr.splitlines()) == 1
    assert original.read_bytes() == before and sorted(p.name for p in original.parent.iterdir()) == [
        "other.bmp",
        "photo.png",
    ]


@pytest.mark.parametrize(
    "way", ["same", "relative", "link to file", "linked target", "hard link", "case", "linked folder"]
)
def test_a_target_that_is_an_input_in_any_way_is_refused(image, tmp_path, monkeypatch, way):
    out = tmp_path / "out"
    source = image("out/photo.PNG" if way == "case" else "out/photo.png")
    if way == "relative":
        monkeypatch.chdir(tmp_path)
        source = Path("out/../out/photo.png")
    elif way == "link to file":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "photo.jpg").symlink_to(source)
        source = tmp_path / "elsewhere" / "photo.jpg"
    elif way in ("linked target", "hard link"):
        source = source.rename(tmp_path / "photo.png")
        (os.link if way == "hard link" else os.symlink)(source, out / "photo.png")
    elif way == "linked folder":
        (tmp_path / "link").symlink_to(out)
        out = tmp_path / "link"
    with pytest.raises(ValueError, match="would be written, is the image"):
        plan([source], out, MODEL_FOLDER)


def test_a_file_that_another_program_wrote_is_not_replaced_but_an_earlier_result_is(model, image, tmp_path):
    source, out = image("in/a.jpg"), tmp_path / "out"
    image("out/a.png")
    before = (out / "a.png").read_bytes()
    assert "exists and was not written by this command" in _run(model, out, source, code=1).stderr
    assert (out / "a.png").read_bytes() == before
    (out / "a.png").unlink()
    for _ in range(2):
        assert _run(model, out, source).stdout.strip() == str(out / "a.png")


def test_what_was_made_from_another_image_or_with_another_model_is_not_replaced(model, image, tmp_path):
    one, other, out = image("x/photo.png"), image("y/photo.png"), tmp_path / "out"
    (first,) = reconstruct_files([one], model, out)
    before = first.target.read_bytes()
    another = Path(shutil.copytree(model, tmp_path / "another"))
    for source, folder in ((other, model), (one, another)):
        with pytest.raises(ValueError, match=r"photo\.png exists and was made from another image or model"):
            list(reconstruct_files([source], folder, out))
    assert first.target.read_bytes() == before
    assert [r.target for r in reconstruct_files([one], model, out)] == [first.target]


def test_of_several_frames_it_is_said_that_the_first_is_reconstructed(model, tmp_path, caplog):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (found,) = reconstruct_files([tmp_path / "moving.gif"], model, tmp_path / "out")
    assert found.target and "moving.gif: first of several frames is reconstructed" in caplog.text


@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        (["a/photo.png", "b/photo.bmp"], ["photo-png.png", "photo-bmp.png"]),
        (["a/photo.png", "b/photo.png"], ["a/photo.png", "b/photo.png"]),
        (["a/photo.jpg", "a/Photo.png"], ["photo-jpg.png", "Photo-png.png"]),
        (["a/x.jpg", "a/x.jpg", "a/y.jpg"], ["x.png", "y.png"]),
        (["a/\u00e9.jpg", "a/e\u0301.bmp"], ["\u00e9-jpg.png", "e\u0301-bmp.png"]),
        (["a/1.jpg", "a/1.bmp", "a/1-bmp.jpg"], ["1-jpg.png", "a/1.png", "1-bmp-jpg.png"]),
    ],
)
def test_images_never_share_a_target(image, tmp_path, sources, targets):
    assert len({t.casefold() for t in targets}) == len(targets)
    found = _targets(tmp_path / "out", *(image(name) for name in sources))
    assert len({t.casefold() for t in found}) == len(found) == len(targets)
    if "1.jpg" not in sources[0]:
        assert found == targets


def test_images_that_cannot_be_told_apart_are_refused(image, tmp_path):
    one, other = image("x/a/photo.png"), image("y/a/photo.png")
    with pytest.raises(ValueError, match=r"x/a/photo\.png and .*y/a/photo\.png would both be written to"):
        plan([one, other], tmp_path / "out", MODEL_FOLDER)


def test_folders_keep_their_subfolders_and_are_searched_like_data_sets(image, tmp_path):
    for name in ("in/a.png", "in/sub/a.png", "in/sub/._a.png", "in/.Trash/b.png", "in/x.png/c.png", "in/@eaDir/d.png"):
        image(name)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "notes.txt").touch()
    image("in/out/earlier.png")
    planned, unused = plan([tmp_path / "in"], tmp_path / "in" / "out", MODEL_FOLDER)
    names = [item.target.relative_to(tmp_path / "in" / "out").as_posix() for item in planned]
    assert names == ["a.png", "sub/a.png", "x.png/c.png"]
    assert {"hidden or system file", "link to a folder above it", "suffix .txt", "folder of results"} <= set(
        unused.summary()
    )


def test_bad_images_are_reported_at_the_end_and_do_not_stop_the_rest(model, image, tmp_path):
    image("in/a.png")
    image("in/z.jpg")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    (tmp_path / "in" / "c.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1" + bytes(99))
    (tmp_path / "in" / "d.png").mkdir()
    image("in/d.png/e.png")
    out = tmp_path / "out"
    done = _run(model, out, tmp_path / "in", tmp_path / "gone.png", code=1)
    assert done.stdout.splitlines() == [str(out / name) for name in ("a.png", "d.png/e.png", "z.png")]
    assert done.stderr.splitlines() == [
        "favae: 3 images were not reconstructed:",
        f"  {tmp_path}/in/b.png: not an image, or damaged at the start",
        f"  {tmp_path}/in/c.heic: HEIC, which is not read here: convert it to PNG or JPEG, or install its reader: "
        "pip install pillow-heif",
        f"  {tmp_path}/gone.png: missing",
    ]


def test_a_name_that_is_not_utf_8_is_reconstructed_and_shown_escaped(model, image, tmp_path):
    path = os.fsencode(image("in/a.png").parent) + b"/caf\xe9.png"
    os.rename(tmp_path / "in" / "a.png", path)  # noqa: PTH104
    done = _run(model, tmp_path / "out", Path(os.fsdecode(path)))
    assert done.stdout.strip() == str(tmp_path / "out" / "caf\\xe9.png")
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"caf\xe9.png"]  # noqa: PTH208


def test_a_pipe_a_loop_of_links_and_a_long_name_stop_nothing(model, image, tmp_path):
    folder, pipe = tmp_path / "in", tmp_path / "pipe.png"
    image("in/a.png"), image(f"in/{'n' * 251}.png")
    (folder / "1.png").symlink_to("2.png")
    (folder / "2.png").symlink_to("1.png")
    os.mkfifo(folder / "inside.png")
    os.mkfifo(pipe)
    image(f"in/{'m' * 251}.png"), image(f"in/{'m' * 251}.bmp")  # with their suffixes, the names are too long
    given = [folder, pipe, Path("y" * 300)]
    results = {r.source.name: r for r in reconstruct_files(given, model, tmp_path / "out")}
    assert "File name too long" in results[f"{'m' * 251}.bmp"].problem
    assert "File name too long" in results["y" * 300].problem
    assert {name for name, r in results.items() if r.target} == {"a.png", f"{'n' * 251}.png"}
    assert results["pipe.png"].problem == "not a file, expected an image"
    assert results["1.png"].problem.startswith("cannot be read: Too many levels of symbolic links")


def test_on_a_full_disk_what_fits_is_whole_and_the_rest_is_named(model, image, tmp_path):
    small, large, out = image("small.png"), image("large.png", (40, 40)), tmp_path / "o"
    # No file may grow beyond 1 kB: writing fails as on a full disk, whoever runs this.
    command = f'ulimit -f 1; trap "" XFSZ; exec favae reconstruct {small} {large} --model {model} --out {out}'
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert "large.png cannot be written: File too large" in done.stderr
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["small.png"]


def test_a_name_that_the_locale_cannot_write_stops_nothing(model, image, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    done = _run(model, tmp_path / "out", image("in/\u2192.png"), image("in/b.png"))
    assert done.stdout.splitlines() == [str(tmp_path / "out" / "\\u2192.png"), str(tmp_path / "out" / "b.png")]


def test_folders_without_images_are_named(image, tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(
        ValueError, match=r"no images .* in the folders given: 1 not used \(folder without images\): .*x\.png"
    ):
        plan([tmp_path / "x.png"], tmp_path / "out", MODEL_FOLDER)
    planned, unused = plan([tmp_path / "x.png", image("a.png")], tmp_path / "out", MODEL_FOLDER)
    assert len(planned) == 1 and "folder without images" in unused.summary()


def test_a_folder_for_results_that_is_a_file_is_refused_first(image, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match="out is a file, expected a folder"):
        plan([image("a.png")], tmp_path / "out", MODEL_FOLDER)


@pytest.mark.parametrize("length", [1, 3, 64, 65, 100, 129, 257, 1000])
@pytest.mark.parametrize(("side", "factor"), [(64, 4), (128, 16)])
def test_tiles_cover_an_axis_with_weights_that_sum_to_one(length, side, factor):
    tiling = Tiling.of(length, side, factor)
    weights = tiling.weights()
    total = np.zeros(tiling.starts[-1] + tiling.side)
    for start, tile in zip(tiling.starts, weights, strict=True):
        assert start % factor == 0
        total[start : start + tiling.side] += tile
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert length <= len(total) < max(length, side) + factor
    assert (weights[1:, : side // 32] == 0).all() and (weights[:-1, -side // 32 :] == 0).all()


@pytest.mark.parametrize("size", [(512, 512), (17, 30), (1024, 256), (5, 3)])
def test_an_image_up_to_the_documented_size_is_reconstructed_in_one_piece(size):
    model, pixels = tiny_model(), np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    x = torch.tensor(pixels).permute(2, 0, 1)[None]
    expected = to_uint8(reconstruct_any_size(model, to_float(x)))[0].numpy()
    assert np.array_equal(reconstruct_pixels(model, pixels), expected)
    help_text = " ".join(call(ROOT, "favae", "reconstruct", "--help").stdout.split())
    assert f"more than {WHOLE_SIDE} x {WHOLE_SIDE} pixels" in help_text
    assert f"tiles of {TILE_LATENT} x {TILE_LATENT} latent positions" in help_text


def _smooth(height: int, width: int) -> np.ndarray:
    """An image with the statistics of a photograph: waves of all lengths whose amplitude decreases with frequency,
    brighter on one side."""
    rng = np.random.default_rng(0)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width))
    waves = [np.fft.irfft2(falloff * np.exp(2j * np.pi * rng.random(falloff.shape)), (height, width)) for _ in range(3)]
    x = np.stack([w / w.std() * 30 for w in waves], axis=2) + np.linspace(40, 210, width)[None, :, None]
    return x.clip(0, 255).astype(np.uint8)


def test_steps_across_tile_borders_are_no_larger_than_inside_tiles():
    model, pixels = tiny_model(), _smooth(700, 900)
    down, across = tilings(model, 700, 900)
    assert len(down.starts) > 2 and len(across.starts) > 3
    calls: list[None] = []
    result = reconstruct_pixels(model, pixels, advance=lambda: calls.append(None)).astype(float)
    assert len(calls) == len(down.starts) * len(across.starts)
    for axis, tiling in ((0, down), (1, across)):
        steps = np.abs(np.diff(result, axis=axis)).mean(axis=(1 - axis, 2))  # between neighbouring lines
        # A tile of f = 4 never ends in the middle of a patch: borders are compared with lines of the same phase.
        borders = sorted(set(tiling.starts[1:]) | {s + tiling.side for s in tiling.starts[:-1]})
        fades = {line for s in tiling.starts[1:] for line in range(s, s + round(tiling.side * 3 / 16) + 1)}
        inside = np.array([steps[i - 1] for i in range(4, len(steps), 4) if i not in fades])
        assert max(steps[b - 1] for b in borders) <= inside.max()
        assert np.mean([steps[i - 1] for i in fades if i % 4 == 0]) <= inside.mean() * 1.1


def test_tiles_do_not_depend_on_the_number_of_workers():
    model, pixels = tiny_model(), _smooth(600, 700)
    assert np.array_equal(reconstruct_pixels(model, pixels), reconstruct_pixels(model, pixels, workers=3))


def test_progress_with_the_time_left_is_logged_while_tiles_are_computed(model, tmp_path, monkeypatch, caplog):
    Image.fromarray(_smooth(600, 700)).save(tmp_path / "a.png")
    monkeypatch.setattr("favae.runtime.progress._EVERY", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with caplog.at_level(logging.INFO):
        results = list(reconstruct_files([tmp_path / "a.png"], model, tmp_path / "out"))
    assert [r.target for r in results] == [tmp_path / "out" / "a.png"]
    lines = [line for line in caplog.messages if "ETA" in line]
    assert len(lines) > 10 and re.match(r"reconstruct: 1/\d+ .* ETA \d", lines[0])
