"""The interface of every text encoder."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TextEncoder(Protocol):
    """Captions to embeddings for CAT. Implementations are `torch.nn.Module`s.

    Attributes:
        dim: width D of the embeddings, `text_dim` of CAT.
        trainable: whether the encoder is trained with CAT; if not, its weights are an input and are not saved in checkpoints.
        truncated: number of captions that were cut to the longest length so far.
    """

    dim: int
    trainable: bool

    @property
    def truncated(self) -> int:
        """Number of captions that were cut to the longest length so far."""
        ...

    def tokenize(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions -> ids [B,T] int64 and mask [B,T] bool (True for tokens that CAT may attend to), on the CPU."""
        ...

    def encode(self, ids_BT: Tensor) -> Tensor:
        """Ids on the encoder's device -> embeddings [B,T,D]; differentiable if `trainable`."""
        ...

    def config(self) -> dict[str, Any]:
        """JSON-ready configuration from which `build_text_encoder` builds the same encoder, vocabulary included."""
        ...
