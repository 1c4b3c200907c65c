"""The photographs in scikit-image and scikit-learn from which tiles are cut, with boxes around the objects in them.

Boxes are (left, top, right, bottom) in source pixels, drawn by eye. The SHA-256 of each file is checked, so a release
with another file is detected. scikit-image also has the right image of the motorcycle's stereo pair. It is left out
because it shows the same scene, which would put one object into two splits.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from favae.data.records import Box

_SKIMAGE = ("skimage", "data")
_SKLEARN = ("sklearn", "datasets/images")


@dataclass(frozen=True, slots=True)
class ShippedImage:
    """A source photograph.

    Attributes:
        package: Python package and folder inside it.
        file: file name.
        sha256: of the file.
        size: (width, height) in pixels.
        description: completes "a view of ... in <description>".
        band: side of the image that is held out.
        test_end: whether test is the first (top or left) or the last part of the held-out band.
        parts: description and box of each object.
    """

    package: tuple[str, str]
    file: str
    sha256: str
    size: tuple[int, int]
    description: str
    band: Literal["left", "right", "top", "bottom"]
    test_end: Literal["first", "last"]
    parts: tuple[tuple[str, Box], ...]

    @property
    def source(self) -> str:
        """Name of the file in the index, without the machine's folders."""
        return "/".join((*self.package, self.file))


def shipped_path(photo: ShippedImage) -> Path:
    """Path of the file in this environment. The package itself is not imported (scikit-learn takes seconds).

    Raises:
        ValueError: the package is not installed.
    """
    package, folder = photo.package
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ValueError(f"tiles need the images of the package {package!r}, which is not installed")
    return Path(found.origin).parent / folder / photo.file


SHIPPED_IMAGES: dict[str, ShippedImage] = {
    "astronaut": ShippedImage(
        _SKIMAGE,
        "astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        (512, 512),
        "a portrait of a woman astronaut",
        "right",
        "first",
        (
            ("a smiling face and brown hair", (155, 15, 302, 190)),
            ("the ring of a space suit's collar", (115, 150, 305, 295)),
            ("an orange space suit", (40, 220, 360, 510)),
            ("a round mission patch", (133, 348, 210, 425)),
            ("a name badge", (278, 338, 330, 378)),
            ("an American flag", (0, 0, 105, 300)),
            ("a model of the space shuttle", (352, 0, 475, 290)),
            ("a black and white helmet", (280, 342, 510, 512)),
        ),
    ),
    "chelsea": ShippedImage(
        _SKIMAGE,
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        (451, 300),
        "a photograph of a tabby cat",
        "right",
        "first",
        (
            ("a green eye", (135, 85, 210, 150)),
            ("a green eye", (295, 108, 345, 165)),
            ("a pink nose", (228, 222, 290, 270)),
            ("striped fur", (60, 0, 330, 95)),
            ("the fur of a cheek", (20, 90, 140, 250)),
            ("a pointed ear", (345, 0, 400, 80)),
            ("white whiskers", (20, 190, 225, 300)),
            ("a blurred background", (375, 60, 451, 300)),
        ),
    ),
    "coffee": ShippedImage(
        _SKIMAGE,
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        (600, 400),
        "a photograph of a cup of coffee",
        "left",
        "last",
        (
            ("espresso in a white-rimmed cup", (175, 18, 405, 205)),
            ("the red handle of a cup", (195, 235, 250, 300)),
            ("a metal spoon", (325, 240, 405, 322)),
            ("a red saucer", (78, 200, 478, 382)),
            ("a red saucer", (78, 90, 175, 240)),
            ("a red saucer", (400, 130, 478, 260)),
            ("a wooden table", (0, 270, 130, 400)),
            ("a wooden table", (430, 0, 600, 400)),
            ("a wooden table", (0, 60, 130, 160)),
        ),
    ),
    "rocket": ShippedImage(
        _SKIMAGE,
        "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        (640, 427),
        "a photograph of a rocket on its launch pad at dusk",
        "right",
        "last",
        (
            ("a white rocket", (308, 125, 337, 410)),
            ("a steel lattice tower", (5, 0, 90, 330)),
            ("a steel lattice tower", (560, 0, 640, 380)),
            ("a slender mast", (180, 120, 207, 370)),
            ("a slender mast", (440, 120, 467, 370)),
            ("bright lamps", (80, 340, 215, 427)),
            ("bright lamps", (345, 375, 470, 427)),
            ("a launch platform", (265, 400, 380, 427)),
            ("blue evening sky", (95, 0, 300, 330)),
            ("blue evening sky", (345, 0, 555, 330)),
        ),
    ),
    "motorcycle": ShippedImage(
        _SKIMAGE,
        "motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        (741, 500),
        "a photograph of a red motorcycle in a garage",
        "right",
        "last",
        (
            ("a front wheel", (510, 250, 690, 455)),
            ("a rear wheel", (122, 235, 275, 402)),
            ("an engine", (320, 240, 475, 385)),
            ("a red fuel tank", (255, 155, 480, 280)),
            ("a black seat", (145, 155, 330, 240)),
            ("a headlamp and orange indicators", (460, 115, 590, 200)),
            ("shelves with boxes", (345, 0, 741, 110)),
            ("a concrete floor", (0, 300, 120, 500)),
            ("a concrete floor", (120, 405, 520, 500)),
            ("a wooden bench", (20, 105, 275, 260)),
            ("a wooden wall", (0, 0, 165, 100)),
        ),
    ),
    "flower": ShippedImage(
        _SKLEARN,
        "flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        (640, 427),
        "a photograph of an orange dahlia",
        "bottom",
        "first",
        (
            ("the heart of a dahlia", (240, 160, 370, 285)),
            ("orange petals", (170, 85, 445, 358)),
            ("petals of a second dahlia", (285, 375, 470, 427)),
            ("dark green leaves", (0, 0, 160, 427)),
            ("dark green leaves", (460, 0, 640, 380)),
            ("dark green leaves", (160, 0, 640, 75)),
        ),
    ),
    "china": ShippedImage(
        _SKLEARN,
        "china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        (640, 427),
        "a photograph of a Chinese pagoda by a lake",
        "left",
        "first",
        (
            ("a tiled pagoda roof", (95, 50, 320, 135)),
            ("a tiled pagoda roof", (85, 155, 330, 190)),
            ("a tiled pagoda roof", (60, 240, 350, 285)),
            ("a red gallery with columns", (110, 125, 290, 165)),
            ("a red gallery with columns", (100, 190, 320, 240)),
            ("a red gallery with columns", (80, 285, 345, 345)),
            ("a hazy lake", (330, 205, 550, 320)),
            ("green trees", (0, 345, 230, 427)),
            ("green trees", (340, 290, 640, 427)),
            ("green trees", (550, 135, 640, 427)),
            ("pale sky", (0, 0, 90, 130)),
            ("pale sky", (330, 0, 640, 190)),
        ),
    ),
    "retina": ShippedImage(
        _SKIMAGE,
        "retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        (1411, 1411),
        "a fundus photograph of a human retina",
        "bottom",
        "first",
        (
            ("the bright optic disc", (195, 560, 310, 720)),
            ("the dark macula", (590, 630, 790, 800)),
            ("branching blood vessels", (230, 80, 560, 600)),
            ("branching blood vessels", (550, 130, 1250, 210)),
            ("branching blood vessels", (500, 330, 1150, 440)),
            ("branching blood vessels", (160, 850, 900, 1300)),
            ("branching blood vessels", (650, 850, 1150, 950)),
        ),
    ),
    "hubble_deep_field": ShippedImage(
        _SKIMAGE,
        "hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        (1000, 872),
        "the Hubble deep field of distant galaxies",
        "right",
        "first",
        (
            ("an orange galaxy", (265, 85, 315, 135)),
            ("an orange galaxy", (700, 440, 760, 510)),
            ("an orange galaxy", (955, 465, 1000, 510)),
            ("an orange galaxy", (755, 715, 795, 760)),
            ("an orange galaxy", (400, 695, 440, 735)),
            ("a white spiral galaxy", (105, 375, 145, 425)),
            ("a star with rays", (730, 550, 780, 605)),
        ),
    ),
    "immunohistochemistry": ShippedImage(
        _SKIMAGE,
        "ihc.png",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        (512, 512),
        "a micrograph of stained colon tissue",
        "bottom",
        "last",
        (
            ("a round gland stained brown", (248, 300, 385, 505)),
            ("a gland stained brown", (0, 0, 275, 210)),
            ("a gland stained brown", (285, 0, 455, 285)),
            ("a gland stained brown", (45, 240, 160, 512)),
            ("blue nuclei in connective tissue", (160, 300, 250, 512)),
            ("blue nuclei in connective tissue", (455, 0, 512, 512)),
            ("blue nuclei in connective tissue", (385, 300, 455, 512)),
            ("blue nuclei in connective tissue", (120, 250, 290, 310)),
        ),
    ),
    "moon": ShippedImage(
        _SKIMAGE,
        "moon.png",
        "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
        (512, 512),
        "a photograph of the surface of the Moon",
        "left",
        "first",
        (
            ("a round crater", (95, 60, 150, 112)),
            ("a bright slope beside a dark pit", (295, 80, 385, 180)),
            ("dark patches", (200, 340, 300, 470)),
            ("a smooth plain", (400, 60, 512, 512)),
            ("a smooth plain", (0, 250, 190, 512)),
        ),
    ),
}
