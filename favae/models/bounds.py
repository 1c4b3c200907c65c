"""Range checks of constructor arguments. Each error is one sentence: argument, value found, values allowed."""

SIDE = 16_384  # pixels of an image's side
WIDTH = 65_536  # channels, features
CODES = 4_194_304
DEPTH = 256  # blocks or layers in a row


def whole(name: str, value: int, most: int = WIDTH, least: int = 1) -> None:
    """Raise ValueError unless `least` <= value <= `most`. The upper limits only catch typing errors."""
    if not least <= value <= most:
        raise ValueError(f"{name} got {value}; expected a whole number from {least:,} to {most:,}")


def above_zero(name: str, value: float) -> None:
    """Raise ValueError unless value > 0."""
    if not value > 0:
        raise ValueError(f"{name} got {value}; expected a number > 0")


def not_negative(name: str, value: float) -> None:
    """Raise ValueError unless value >= 0."""
    if not value >= 0:
        raise ValueError(f"{name} got {value}; expected a number >= 0")


def below_one(name: str, value: float) -> None:
    """Raise ValueError unless 0 <= value < 1, such as a dropout probability."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} got {value}; expected a number >= 0 and < 1")
