"""The interface of every text encoder."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TextEncoder(Protocol):
    """Captions to embeddings for CAT. Implementations are also `torch.nn.Module`s: they move, save and train as such.

    Attributes:
        dim: width D of the embeddings, `text_dim` of CAT.
        trainable: whether the encoder learns with CAT; if not, embeddings may be computed once, and its weights are an
            input of the pipeline that no checkpoint needs to hold.
        truncated: captions cut to the longest allowed length so far.
    """

    dim: int
    trainable: bool

    @property
    def truncated(self) -> int:
        """See above."""
        ...

    def tokenize(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions -> ids [B,T] int64 and mask [B,T] bool (True where CAT may look), on the CPU."""
        ...

    def encode(self, ids_BT: Tensor) -> Tensor:
        """Ids on the encoder's device -> embeddings [B,T,D]; differentiable where `trainable`."""
        ...

    def config(self) -> dict[str, Any]:
        """JSON-ready configuration from which `build_text_encoder` makes the same encoder, vocabulary included."""
        ...
