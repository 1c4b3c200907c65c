"""Any bytes in any file of a user give a value, or one of our errors with the name of the file; nothing is unpickled."""

import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from data_support import Evil, contents, json_values, nothing_unpickled, quick
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from favae.config.dataset import ListFilesConfig
from favae.config.load import read_yaml
from favae.data.images import image_size, read_image
from favae.data.mnist import check_md5, read_images, read_labels
from favae.data.texts import TextFiles
from favae.inference.export import load_any_autoencoder, save_weights
from favae.models import FAVAE
from favae.results.cards import read_card
from favae.results.run_record import read_record
from favae.runtime.paths import MODEL_CONFIG, WEIGHTS

MODEL = {
    "image_size": 8,
    "base_channels": 2,
    "channel_multipliers": [1, 1],
    "res_blocks": 1,
    "attention_resolutions": [],
    "latent_channels": 2,
    "norm_groups": 1,
    "fcm_groups": 1,
    "quantizer": {"kind": "cosine", "codes": 4, "dim": 2},
}


def _encoded(form: str, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.effect_noise((13, 9), 90).convert(mode).save(out, format=form)
    return out.getvalue()


IMAGES = [_encoded(form) for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")]
IMAGES += [_encoded("PNG", mode) for mode in ("RGBA", "P", "I;16", "LA")]
IDX3 = struct.pack(">4I", 2051, 2, 3, 3) + bytes(18)
IDX1 = struct.pack(">2I", 2049, 2) + bytes(2)
TEXTS = [
    b"000001.jpg 0\n000002.jpg 2\n",
    b"idx orig_idx orig_file\n0 4 000005.jpg\n",
    b"imgHQ00000.npy\nimgHQ00001.npy\n",
    "\ufeffcaf\u00e9\r\n".encode(),
    "caf\u00e9".encode("utf-16"),
    b'{"0": {"category": "training"}}',
]
SEEDS = [*IMAGES, IDX3, IDX1, *TEXTS, pickle.dumps(Evil()), b""]
SEEDS += [gzip.compress(seed) for seed in (IDX3, IDX1, *TEXTS)]


def _check_md5(path: Path) -> None:
    check_md5(path, "train-images")


READERS: dict[str, Callable[[Path], Any]] = {
    "image": read_image,
    "grey image": lambda path: read_image(path, channels=1),
    "size": image_size,
    "idx3": lambda path: read_images.__wrapped__(path),
    "idx1": read_labels,
    "md5": _check_md5,
    "lines": lambda path: list(TextFiles().lines(path)),
    "captions": lambda path: TextFiles().captions(path),
    "names": lambda path: TextFiles().names(path),
    "partition": lambda path: TextFiles().partition(path),
    "mapping": lambda path: TextFiles().mapping(path),
    "numbers": lambda path: TextFiles().number_lists(ListFilesConfig(train=path.name, test=path.name), path.parent),
    "json": lambda path: TextFiles().ffhq_json(path),
    "parameters": read_yaml,
    "card": read_card,
    "run record": read_record,
}


def _value_or_named_error(read: Callable[[Path], Any], path: Path, name: str) -> None:
    with nothing_unpickled():
        try:
            read(path)
        except ValueError as error:
            assert name in str(error), repr(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
@quick
@given(data=contents(SEEDS))
def test_any_bytes_as_raw_data_give_a_value_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, reader: str, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz-{reader}.gz"
    path.write_bytes(data)
    _value_or_named_error(READERS[reader], path, str(path))


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, bytes]:
    folder = tmp_path_factory.mktemp("model")
    save_weights(folder, FAVAE(**MODEL).state_dict(), {"kind": "autoencoder", "model": MODEL})
    return folder, (folder / MODEL_CONFIG).read_bytes(), (folder / WEIGHTS).read_bytes()


@quick
@given(
    at=st.integers(0, 999),
    data=st.binary(max_size=12),
    cut=st.booleans(),
    which=st.sampled_from([MODEL_CONFIG, WEIGHTS]),
)
def test_a_damaged_model_loads_or_gives_an_error_that_names_the_file(
    model_files: tuple[Path, bytes, bytes], at: int, data: bytes, cut: bool, which: str
) -> None:
    folder, config, weights = model_files
    (folder / MODEL_CONFIG).write_bytes(config)
    (folder / WEIGHTS).write_bytes(weights)
    whole = config if which == MODEL_CONFIG else weights[:2000]
    place = at * len(whole) // 1000
    rest = b"" if cut else (config if which == MODEL_CONFIG else weights)[place + len(data) :]
    (folder / which).write_bytes((config if which == MODEL_CONFIG else weights)[:place] + data + rest)
    with nothing_unpickled():
        try:
            load_any_autoencoder(folder)
        except ValueError as error:
            assert str(folder) in str(error)


@quick
@given(key=st.sampled_from(["", "kind", "model", *MODEL]), value=json_values)
def test_a_model_configuration_of_another_shape_gives_an_error_that_names_the_file(
    model_files: tuple[Path, bytes, bytes], key: str, value: object
) -> None:
    folder, _, weights = model_files
    config: Any = {"kind": "autoencoder", "model": dict(MODEL)}
    if not key:
        config = value
    elif key in config:
        config[key] = value
    else:
        config["model"][key] = value
    (folder / MODEL_CONFIG).write_text(json.dumps(config), encoding="utf-8")
    (folder / WEIGHTS).write_bytes(weights)
    try:
        load_any_autoencoder(folder)
    except ValueError as error:
        assert str(folder) in str(error)


def test_weights_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    save_weights(tmp_path, {"x": torch.zeros(1)}, {})
    assert (tmp_path / WEIGHTS).stat().st_mode == (tmp_path / MODEL_CONFIG).stat().st_mode
