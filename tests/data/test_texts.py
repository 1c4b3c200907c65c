"""Every reader of text and idx files names the file, the place, what was found and what was expected."""

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data.dataset import PreparedSplit
from favae.data.layouts import list_records
from favae.data.mnist import read_images, read_labels
from favae.data.prepare import prepare
from favae.data.texts import MOST_CAPTION_CHARACTERS, TextFiles, unzipped


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "list.txt"


def _lines(path: Path) -> list[str]:
    return [line for _, line in TextFiles().lines(path)]


def test_lines_end_at_newlines_only(file):
    file.write_bytes("a\u2028b\r\n\n c\x0bd\x85e \nlast".encode())
    assert _lines(file) == ["a\u2028b", "c\x0bd\x85e", "last"]


@pytest.mark.parametrize("packed", [True, False])
def test_a_byte_order_mark_is_not_part_of_the_text(file, packed):
    data = "\ufeff000001.jpg 0\n".encode()
    file.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    assert TextFiles().partition(file) == {"000001.jpg": "train"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a\nzw\xf6lf\n".encode("latin-1"), r"list\.txt, line 2: found the byte 0xf6, expected UTF-8"),
        (b"she\x92s\n", r"list\.txt, line 1: found the byte 0x92.*Windows-1252"),
        ("caf\xe9\n".encode("utf-16"), r"list\.txt is UTF-16 text, expected UTF-8; save it as UTF-8"),
        ("\ufeffa\n".encode("utf-16-be"), r"list\.txt is UTF-16 text"),
        (b"old\rMac\rlines", r"list\.txt, line 1: found '\\r' within a line.*Unix line ends"),
        (b"a\nb\x00c\n", r"list\.txt, line 2: found '\\x00' within a line"),
        (gzip.compress(b"a\n" * 1000, mtime=0)[:-9], r"list\.txt is not a complete gzip file"),
        (b"\x1f\x8bnonsense", r"list\.txt is not a complete gzip file"),
    ],
)
def test_text_that_is_not_utf_8_lines_is_named(file, data, message):
    file.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        _lines(file)


def test_a_damaged_byte_within_gzip_is_named(file):
    data = bytearray(gzip.compress(bytes(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8))))
    data[1500] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"list\.txt is not a complete gzip file"):
        _lines(file)


def test_paths_that_are_not_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="gone is missing"):
        _lines(tmp_path / "gone")
    with pytest.raises(ValueError, match="is not a regular file"):
        _lines(tmp_path)


def test_captions_above_the_limit_of_later_stages_are_refused_and_those_at_it_are_read(tmp_path, image_folder):
    longest = "a" * (MOST_CAPTION_CHARACTERS - 2) + '"\xe9'
    path = image_folder / "train" / "00.txt"
    path.write_text(longest + "\n", encoding="utf-8")
    layout = {"kind": "folder", "root": "images", "captions": "sidecar"}
    config = DatasetConfig.model_validate({"layout": layout, "image_size": 8})
    (tmp_path / "out").mkdir()
    prepare(config, tmp_path / "raw", tmp_path / "out")
    assert PreparedSplit(tmp_path / "out", "train").captions(0) == [longest]
    path.write_text("short\n" + longest + "b\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"00\.txt, line 2: found a caption of 131,073 characters, expected at most"):
        list_records(config, tmp_path / "raw")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001.jpg 3", r"line 1: found '000001.jpg 3', expected a file name and 0, 1 or 2"),
        ("000001.jpg\n", "line 1: found '000001.jpg'"),
        ("a.jpg 0\na.jpg 1\n", "line 2: a.jpg is listed twice, in different parts"),
        ("\na.jpg 0\n/b.jpg 1\n", "line 3: found '/b.jpg', which points outside"),
    ],
)
def test_partition_lists_name_the_line(file, text, message):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        TextFiles().partition(file)


@pytest.mark.parametrize("text", ["0 1", "\xb2 1 a.jpg", "-1 1 a.jpg", "0 1 a.jpg b", "9" * 5000 + " 1 a.jpg"])
def test_mapping_lists_name_the_line(file, text):
    file.write_text(f"idx orig_idx orig_file\n{text}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: found .*expected number, original number"):
        TextFiles().mapping(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"0": {"category": "trai', r"list\.txt, line 1, column \d+: not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "this JSON cannot be read"),
        ("9" * 5000, "this JSON cannot be read"),
        ("[1, 2]", "found a list at the top level, expected"),
        ("null", "found a NoneType at the top level"),
        ('{"0": 3}', "0: found the category 3, expected"),
        ('{"0": ["training"]}', r"0: found the category \['training'\]"),
        ('{"0": {"category": []}}', r"0: found the category \[\]"),
        ('{"0": {}}', "0: found the category None"),
        ('{"x": {"category": "training"}}', "found the key 'x'"),
        ('{"0": {"category": "training"}, "0": {"category": "validation"}}', "the key '0' is there twice"),
    ],
)
def test_json_that_is_cut_or_of_another_shape_is_named(file, text, message):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        TextFiles().ffhq_json(file)
    assert str(caught.value).startswith(str(file))


def test_json_with_a_byte_order_mark_is_read(file):
    file.write_text("\ufeff" + json.dumps({"7": {"category": "training"}}), encoding="utf-8")
    assert TextFiles().ffhq_json(file) == {7: "train"}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ((2051, 0, 28, 28), b"", "found 0 x 28 x 28 in its header"),
        ((2051, 3, 0, 0), b"", "found 3 x 0 x 0 in its header"),
        ((2051, 1, 1 << 20, 1 << 20), b"", "expected sides of 1 to 4096"),
        ((2051, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), b"", "expected sides of 1 to 4096"),
        ((2051, 1 << 31, 4096, 4096), b"abc", "found 3 bytes of data, expected 2,147,483,648 x 4,096 x 4,096"),
        ((2049, 1, 2, 2), b"abcd", "found the magic number 0x00000801, expected 0x00000803"),
        ((2051, 1, 2, 2), b"abc", "found 3 bytes of data, expected 1 x 2 x 2"),
        ((2051, 1), b"", "found 8 bytes, expected a header of 16"),
    ],
)
def test_impossible_idx_headers_are_named(tmp_path, header, data, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(f">{len(header)}I", *header) + data)
    with pytest.raises(ValueError, match=message) as caught:
        read_images(path)
    assert str(path) in str(caught.value)


def test_a_small_gzip_file_of_enormous_content_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("favae.data.mnist._MOST_BYTES", 1 << 20)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24), mtime=0))
    with pytest.raises(ValueError, match="unzips to more than 1,048,576 bytes"):
        read_labels(path)


def test_images_and_labels_of_other_numbers_are_named(tmp_path):
    root = tmp_path / "mnist"
    root.mkdir()
    for part in ("train", "t10k"):
        (root / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, 2, 1, 1) + b"ab")
        (root / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, 3) + b"abc")
    config = {"layout": {"kind": "mnist", "checksums": "unchecked"}, "image_size": 8}
    with pytest.raises(ValueError, match=r"has 2 images and .* 3 labels, expected as many"):
        list_records(DatasetConfig.model_validate(config), tmp_path)


def test_a_missing_caption_of_a_users_folder_is_named(tmp_path):
    (tmp_path / "mine/train").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "mine/train/a.png")
    layout = {"kind": "folder", "root": "mine", "captions": "sidecar"}
    with pytest.raises(ValueError, match=r"train/a\.txt is missing"):
        list_records(DatasetConfig.model_validate({"layout": layout, "image_size": 8}), tmp_path)


def test_gzip_members_and_the_zeros_after_them_are_read_in_time_proportional_to_their_size(tmp_path, monkeypatch):
    pieces = [b"", b"a\0", bytes(500_000), b"", np.random.default_rng(0).bytes(200_000)]
    data = b"".join(gzip.compress(piece, mtime=0) for piece in pieces) + bytes(1000)
    assert unzipped(data, tmp_path, 1 << 20) == b"".join(pieces)
    fed: list[int] = []
    whole = zlib.decompressobj

    class Counting:
        def __init__(self, wbits: int) -> None:
            self._inner = whole(wbits=wbits)

        def decompress(self, step: bytes, most: int) -> bytes:
            fed.append(len(step))
            return self._inner.decompress(step, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    blocks = gzip.compress(np.random.default_rng(0).bytes(20_000), mtime=0) * 200  # as bgzip writes
    assert len(unzipped(blocks, tmp_path, 1 << 30)) == 4_000_000
    assert sum(fed) < 5 * len(blocks)


def test_a_partition_list_that_a_spreadsheet_wrote_is_read(file):
    file.write_bytes(b'"image_id","partition"\r\n"000001.jpg","0"\r\n"000002.jpg",2\r\n')
    assert TextFiles().partition(file) == {"000001.jpg": "train", "000002.jpg": "test"}


def test_byte_order_marks_of_joined_files_are_no_part_of_a_caption(file):
    file.write_text("\ufeffa face\n\ufeff\n\ufeffa cat\n", encoding="utf-8")
    assert TextFiles().captions(file) == ("a face", "a cat")


@pytest.mark.parametrize("text", ['["a face", "a cat"]', '{"caption": "a face"}'])
def test_captions_in_json_are_refused(file, text):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.txt, line 1: found .* JSON; expected one plain caption per line"):
        TextFiles().captions(file)
