"""Every kind of bad image is named, and accepted images are decoded to the right pixels."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from favae.data.images import BadImage, binarize, image_size, read_image, resize, to_array
from favae.runtime.torchvision import ensure_torchvision


def _pixels(path: Path, **options: object) -> np.ndarray:
    return to_array(read_image(path, **options).image)


@pytest.fixture
def jpeg(tmp_path: Path, noise) -> Path:
    Image.fromarray(noise(40, 60, 3)).save(tmp_path / "a.jpg", quality=90)
    return tmp_path / "a.jpg"


def test_rgb_png_is_read_exactly_and_unchanged(tmp_path, noise):
    x = noise(5, 7, 3)
    Image.fromarray(x).save(tmp_path / "a.png")
    assert np.array_equal(_pixels(tmp_path / "a.png"), x)
    assert read_image(tmp_path / "a.png").changes == ()


def test_missing_and_empty_and_text_files_are_bad(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("<html>404 Not Found</html>")
    for name, reason in (("gone.jpg", "missing"), ("empty.jpg", "empty"), ("text.jpg", "not an image")):
        with pytest.raises(BadImage, match=reason) as caught:
            read_image(tmp_path / name)
        assert caught.value.path.endswith(name)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".tif", ".webp"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_a_file_cut_short_is_bad_in_every_format(tmp_path, noise, suffix, kept):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(BadImage):
        read_image(path)


def test_a_flipped_bit_in_png_data_is_found_by_its_checksum(tmp_path, noise):
    path = tmp_path / "a.png"
    Image.fromarray(noise(64, 64, 3)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadImage, match="corrupt"):
        read_image(path)


def test_grey_becomes_three_equal_channels(tmp_path, noise):
    x = noise(6, 6)
    Image.fromarray(x).save(tmp_path / "a.png")
    assert np.array_equal(_pixels(tmp_path / "a.png"), np.stack([x] * 3, axis=2))
    assert read_image(tmp_path / "a.png").changes == ("L to RGB",)


def test_one_channel_keeps_grey_and_weighs_colours_by_rec_601(tmp_path, noise):
    grey, colour = noise(6, 6), noise(6, 6, 3)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(colour).save(tmp_path / "colour.png")
    assert np.array_equal(_pixels(tmp_path / "grey.png", channels=1), grey[:, :, None])
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(_pixels(tmp_path / "colour.png", channels=1)[:, :, 0] - luma).max() <= 0.51


def test_transparency_is_composited_on_white(tmp_path, noise):
    x = noise(9, 9, 4)
    x[0, 0, 3], x[0, 1, 3] = 0, 255
    Image.fromarray(x, mode="RGBA").save(tmp_path / "a.png")
    got = _pixels(tmp_path / "a.png").astype(float)
    alpha = x[:, :, 3:] / 255
    assert np.abs(got - (x[:, :, :3] * alpha + 255 * (1 - alpha))).max() <= 1
    assert (got[0, 0] == 255).all() and (got[0, 1] == x[0, 1, :3]).all()
    assert read_image(tmp_path / "a.png").changes == ("RGBA to RGB",)


def test_palette_with_transparent_colour_is_white_there(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    got = _pixels(tmp_path / "a.png")
    assert got[0, 0].tolist() == [255, 255, 255] and got[1, 1].tolist() == [200, 100, 50]


def test_cmyk_is_converted_by_the_complement_formula(tmp_path):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(_pixels(tmp_path / "a.jpg")[4, 4].astype(int) - [0, 255, 255]).max() <= 3
    assert read_image(tmp_path / "a.jpg").changes == ("CMYK to RGB",)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    levels = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert _pixels(tmp_path / "a.png", channels=1)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floating_point_pixels_are_bad(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match="floating-point"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_policy_bad_names_the_mode(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (8, 8)).save(path)
    with pytest.raises(BadImage, match=f"mode {mode}"):
        read_image(path, non_rgb="bad")


# Position of the stored top-left pixel in the upright image (EXIF 2.3, tag 0x0112).
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_exif_orientation_is_applied_unless_ignored(tmp_path, orientation, corner):
    x = np.zeros((20, 30, 3), np.uint8)
    x[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(x).save(tmp_path / "a.png", exif=exif)
    upright = _pixels(tmp_path / "a.png")
    assert upright.shape == ((30, 20, 3) if orientation >= 5 else (20, 30, 3))
    assert upright[corner].tolist() == [255, 255, 255]
    assert ("EXIF rotation" in read_image(tmp_path / "a.png").changes) == (orientation != 1)
    assert np.array_equal(_pixels(tmp_path / "a.png", exif="ignore"), x)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_of_several_frames_the_first_is_read_and_this_is_counted(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "green", "blue")]
    path = tmp_path / f"moving.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    decoded = read_image(path)
    assert "first of several frames" in decoded.changes
    assert decoded.image.getpixel((4, 3))[0] > 200


@pytest.mark.parametrize(
    ("profile", "is_ignored"),
    [
        (None, False),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), False),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(), True),
        (b"damaged", True),
    ],
)
def test_a_colour_profile_that_changes_colours_is_not_applied_and_this_is_counted(tmp_path, noise, profile, is_ignored):
    x = noise(8, 6, 3)
    Image.fromarray(x).save(tmp_path / "x.png", icc_profile=profile)
    decoded = read_image(tmp_path / "x.png")
    assert np.array_equal(to_array(decoded.image), x)
    assert decoded.changes == (("colour profile ignored",) if is_ignored else ())


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_bad_and_never_opened(tmp_path, make):
    make(tmp_path / "x.png")
    for read in (read_image, image_size):
        with pytest.raises(BadImage, match="not a file, expected an image"):
            read(tmp_path / "x.png")


def test_bad_image_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(BadImage("a.jpg", "missing")))
    assert (error.path, error.reason, str(error)) == ("a.jpg", "missing", "a.jpg: missing")


@pytest.mark.parametrize("shape", [(40, 60, 3), (61, 40, 3), (17, 90, 3), (24, 24, 3), (20, 33)])
@pytest.mark.parametrize("method", ["squash", "center_crop"])
def test_resize_equals_torchvision(noise, shape, method):
    ensure_torchvision()
    from torchvision import transforms

    bilinear = transforms.InterpolationMode.BILINEAR
    steps = {
        "squash": transforms.Resize((24, 24), bilinear),
        "center_crop": transforms.Compose([transforms.Resize(24, bilinear), transforms.CenterCrop(24)]),
    }
    image = Image.fromarray(noise(*shape))
    assert np.array_equal(np.asarray(resize(image, 24, method)), np.asarray(steps[method](image)))


def test_to_array_always_has_three_axes(jpeg):
    assert to_array(Image.open(jpeg)).shape == (40, 60, 3)
    assert to_array(Image.open(jpeg).convert("L")).shape == (40, 60, 1)


def test_binarised_pixels_are_white_above_half_or_with_the_probability_of_their_brightness():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(binarize(ramp, "threshold", 0), np.where(ramp > 127, 255, 0))
    half = np.full((100, 100, 1), 51, np.uint8)  # 20 %
    drawn = binarize(half, "sample", 3)
    assert set(np.unique(drawn)) == {0, 255}
    assert abs((drawn == 255).mean() - 0.2) < 0.02
    assert np.array_equal(drawn, binarize(half, "sample", 3))
    assert not np.array_equal(drawn, binarize(half, "sample", 4))
    ends = np.array([[[0]], [[255]]], np.uint8)
    assert all(np.array_equal(binarize(ends, "sample", seed), ends) for seed in range(200))


def _peak_of(code: str) -> int:
    """Peak of resident memory, in MB, of a process that runs `code` after its imports."""
    start = (
        "import resource, sys\nfrom pathlib import Path\nimport numpy as np\nfrom PIL import Image\n"
        "from favae.data.images import read_image, resize\n"
        "Image.init()\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    )
    end = "\nprint((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    done = subprocess.run([sys.executable, "-c", start + code + end], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.parametrize("shape", [(1, 60_000, 3), (60_000, 1, 3), (3, 30_000)])
def test_a_thin_image_needs_no_more_memory_than_a_square_one(tmp_path, noise, shape):
    Image.fromarray(noise(*shape)).save(tmp_path / "line.png")
    code = f"x = resize(read_image(Path({str(tmp_path / 'line.png')!r})).image, 256, 'center_crop')\nassert x.size == (256, 256)"
    assert _peak_of(code) < 60


def test_a_thin_image_is_cut_to_the_same_pixels_up_to_rounding(noise):
    image = Image.fromarray(noise(20, 20 * 17, 3))
    scaled = image.resize((40 * 17, 40), Image.Resampling.BILINEAR)
    expected = np.asarray(scaled.crop((320, 0, 360, 40))).astype(int)
    assert np.abs(np.asarray(resize(image, 40, "center_crop")).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_conversions_need_two_images_of_memory_at_most(tmp_path, mode):
    side, bytes_per_pixel = 5000, {"RGBA": 4 + 4, "I;16": 2 + 1 + 4}[mode]
    Image.new(mode, (side, side)).save(tmp_path / "a.png")
    allowed = bytes_per_pixel * side * side / 2**20 + 110
    assert _peak_of(f"read_image(Path({str(tmp_path / 'a.png')!r}))") < allowed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16"])
def test_conversion_by_strips_gives_the_same_pixels(tmp_path, noise, monkeypatch, channels, mode):
    x = noise(64, 30, 4)
    image = Image.fromarray(x[:, :, :2].copy().view(np.uint16)[:, :, 0]) if mode == "I;16" else Image.fromarray(x)
    options = {}
    if mode == "P":
        image, options = Image.fromarray(x[:, :, :3]).quantize(16), {"transparency": 3}
    elif mode == "LA":
        image = image.convert("LA")
    image.save(tmp_path / "a.png", **options)
    whole = _pixels(tmp_path / "a.png", channels=channels)
    monkeypatch.setattr("favae.data.images._PIXELS_PER_STRIP", 30 * 7)
    assert np.array_equal(_pixels(tmp_path / "a.png", channels=channels), whole)


def _png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_an_image_of_too_many_pixels_is_too_large_not_corrupt(tmp_path, noise):
    (tmp_path / "bomb.png").write_bytes(_png_header(50_000, 50_000))
    with pytest.raises(BadImage, match=r"too large: 50,000 x 50,000 pixels, expected at most 200 megapixels"):
        read_image(tmp_path / "bomb.png")
    Image.fromarray(noise(1001, 1000, 3)).save(tmp_path / "a.png")
    with pytest.raises(BadImage, match="at most 1 megapixels; make it smaller, or raise most_megapixels"):
        read_image(tmp_path / "a.png", most_megapixels=1)
    assert read_image(tmp_path / "a.png", most_megapixels=2).image.size == (1000, 1001)


def test_a_file_too_long_to_be_an_image_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(BadImage, match="too large: a file of 10,737,418,240 bytes"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1", "HEIC, which is not read here: convert it to PNG or JPEG, or install"),
        (b"\0\0\0\x1cftypmif1", "HEIC.*pip install pillow-heif"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL.*convert it"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'>", "SVG, which is not read here: convert it to PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_formats_without_a_reader_are_named_with_what_to_do(tmp_path, start, message):
    (tmp_path / "a.png").write_bytes(start + bytes(300))
    with pytest.raises(BadImage, match=message):
        read_image(tmp_path / "a.png")


def test_jpeg_under_another_suffix_is_read(tmp_path, jpeg):
    jpeg.rename(tmp_path / "a.jfif")
    assert read_image(tmp_path / "a.jfif").image.size == (60, 40)


def test_the_size_is_read_from_the_header_only(tmp_path, jpeg):
    (tmp_path / "cut.jpg").write_bytes(jpeg.read_bytes()[:700])
    assert image_size(tmp_path / "cut.jpg") == (60, 40)
    with pytest.raises(BadImage, match="missing"):
        image_size(tmp_path / "gone.jpg")


def test_an_icon_is_refused_because_what_it_contains_may_be_larger_than_it_says(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (300, 300)).save(buffer, "PNG")
    entry = struct.pack("<4B2H2I", 16, 16, 0, 0, 1, 32, buffer.tell(), 22)
    (tmp_path / "a.png").write_bytes(struct.pack("<3H", 0, 1, 1) + entry + buffer.getvalue())
    with pytest.raises(BadImage, match="ICO, a file of icons, which is not read here: convert it to PNG"):
        read_image(tmp_path / "a.png", most_megapixels=1)
