"""CAT: Cross-attention Autoregressive Transformer, text to the code indices of a frozen FA-VAE.

Source: FA-VAE (CVPR 2023), section on text-to-image generation, and its official code (a Parti-style transformer with
multi-query attention). The default of each option is what the official code does; its other values are corrections.

Legend: B batch, N = h*w image tokens in raster order, n length of a prefix of them, T text tokens, M keys, K codes, D
width of the text embeddings, H heads, d width of the model, k width of a head's key and value together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.models.bounds import CODES, DEPTH, WIDTH, above_zero, below_one, whole
from favae.models.cat_layers import CatBlock, GainNorm, KeyValue
from favae.models.sampling import sample_codes, top_k_filter, top_p_filter

RelativePosition = Literal["official", "aligned"]
NoDecay = Literal["official", "standard"]


class CAT(nn.Module):
    """Cross-attention Autoregressive Transformer over the code indices of an image, conditioned on text embeddings.

    Source: official code of FA-VAE; the defaults are its `gpt2_medium` (24 layers, width 1536, 16 heads), `gpt2_mini`
    has 24 heads, `gpt2_large` 36 layers, width 1280 and 32 heads. Two modules of the released network that its forward
    pass never uses are left out (a projection of the text, 1.2 M parameters, and a dropout).

    Args:
        codes: size K of the codebook.
        grid: (h, w) of the code indices.
        layers, dim, heads, head_dim, feedforward_multiplier: size of the network.
        text_dim: width of the text embeddings.
        dropout: on the inputs of the query and key-value projections, as in the official code, which has it nowhere else.
        relative_position: "official" indexes the relative bias by position in the sequence, which begins with the start
            token. So each token is treated as if it were at the next raster cell, and the last token of a row as the
            first of the next. "aligned" indexes it by the token's own cell; the start token has no cell and no bias.
        key_value: "shared" uses one vector as key and as value; "separate" projects two.
        token_embedding_std: standard deviation at initialisation of the token embeddings, the axial positions and the
            start token (a LayerNorm follows, so the scale affects only the tied output layer). With 1.0 (official code)
            the first logits are of order sqrt(dim) and the first losses far above ln(codes); with dim**-0.5 they are
            close to it.

    Raises:
        ValueError: a size or a number is out of range, or an option is unknown.
    """

    offsets_NN: Tensor
    visible_NM: Tensor

    def __init__(
        self,
        *,
        codes: int = 1024,
        grid: tuple[int, int] = (16, 16),
        layers: int = 24,
        dim: int = 1536,
        heads: int = 16,
        head_dim: int = 64,
        text_dim: int = 768,
        feedforward_multiplier: int = 4,
        dropout: float = 0.1,
        relative_position: RelativePosition = "official",
        key_value: KeyValue = "shared",
        token_embedding_std: float = 1.0,
    ):
        super().__init__()
        _check_option("relative_position", relative_position, RelativePosition)
        _check_option("key_value", key_value, KeyValue)
        rows, columns = grid
        sizes = {"codes": codes, "grid": min(grid), "layers": layers, "dim": dim, "heads": heads, "head_dim": head_dim}
        sizes |= {"text_dim": text_dim, "feedforward_multiplier": feedforward_multiplier}
        for name, size in sizes.items():
            whole(name, size, {"codes": CODES, "layers": DEPTH, "grid": 1024}.get(name, WIDTH))
        below_one("dropout", dropout)
        above_zero("token_embedding_std", token_embedding_std)
        self.codes, self.tokens, self.text_dim = codes, rows * columns, text_dim
        self.token_embedding = nn.Embedding(codes, dim)
        self.row_position = nn.Parameter(torch.empty(rows, dim))
        self.column_position = nn.Parameter(torch.empty(columns, dim))
        self.start_token = nn.Parameter(torch.empty(dim))
        for embedding in (self.token_embedding.weight, self.row_position, self.column_position, self.start_token):
            nn.init.normal_(embedding, std=token_embedding_std)
        attention = {"heads": heads, "head_dim": head_dim, "dropout": dropout, "key_value": key_value}
        offsets = (2 * rows - 1) * (2 * columns - 1)
        self.input_norm = GainNorm(dim)
        self.blocks = nn.ModuleList(
            CatBlock(dim, text_dim, offsets, feedforward_multiplier, attention) for _ in range(layers)
        )
        self.output_norm = GainNorm(dim)
        offsets_NN = raster_offsets(rows, columns)
        if relative_position == "aligned":  # input i holds cell i-1; `CatBlock.self_bias` pads for the start token
            offsets_NN = offsets_NN[:-1, :-1]
        visible_NM = torch.ones(self.tokens, 1 + self.tokens, dtype=torch.bool).tril(1)  # the null, then tokens <= i
        self.register_buffer("offsets_NN", offsets_NN, persistent=False)
        self.register_buffer("visible_NM", visible_NM, persistent=False)

    def forward(
        self, indices_BN: Tensor, text_BTD: Tensor, text_mask_BT: Tensor, keep_text_B: Tensor | None = None
    ) -> Tensor:
        """Logits of every code under teacher forcing: the input is the start token and the first N-1 codes.

        Args:
            indices_BN: int64 in 0..K-1, raster order.
            text_BTD: text embeddings.
            text_mask_BT: bool, False hides a text token.
            keep_text_B: bool, False hides the whole text of a sample (classifier-free guidance); None hides no text.

        Returns:
            [B,N,K]; [:, t] depends only on the codes before t.

        Raises:
            ValueError: shapes or types do not fit.
        """
        if indices_BN.shape[1:] != (self.tokens,):
            raise ValueError(f"CAT got indices {tuple(indices_BN.shape)}, expected [B, {self.tokens}] in raster order")
        return self.prefix_logits(indices_BN[:, :-1], text_BTD, text_mask_BT, keep_text_B)

    def prefix_logits(
        self, indices_Bn: Tensor, text_BTD: Tensor, text_mask_BT: Tensor, keep_text_B: Tensor | None = None
    ) -> Tensor:
        """Logits of the codes 0..n given the first n (0 <= n < N): [B,1+n,K]. Arguments and errors as in `forward`."""
        self._check_inputs(indices_Bn, text_BTD, text_mask_BT)
        length = 1 + indices_Bn.shape[1]
        start_B1d = self.start_token.expand(len(indices_Bn), 1, -1)
        x_Bnd = self.input_norm(torch.cat((start_B1d, self._embed(indices_Bn, 0)), dim=1))
        text_bias = self._text_bias(text_mask_BT, keep_text_B)
        for block, bias_nHM in zip(self.layers, self._self_biases(length), strict=True):
            x_Bnd = block(x_Bnd, bias_nHM, block.cross_attention.keys(text_BTD), text_bias)
        return self._logits(x_Bnd)

    def loss(
        self, indices_BN: Tensor, text_BTD: Tensor, text_mask_BT: Tensor, keep_text_B: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy of the N codes in nats, a scalar. Arguments and errors as in `forward`.

        The official code hides the text of a sample with probability 0.25, in validation too (`keep_text_B`).
        """
        logits_BNK = self(indices_BN, text_BTD, text_mask_BT, keep_text_B)
        return F.cross_entropy(logits_BNK.flatten(0, 1).float(), indices_BN.flatten())

    @torch.no_grad()
    def generate(
        self,
        text_BTD: Tensor,
        text_mask_BT: Tensor,
        *,
        guidance: float = 3.0,
        top_k: int | None = 500,
        top_p: float | None = 0.95,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sample the code indices of images from text, with classifier-free guidance and a key-value cache: [B,N] int64.

        Logits are null + guidance * (conditional - null), then top-k, top-p and Gumbel-max sampling, as in the official
        code, which runs two full forward passes per token. Here both passes are one batch of 2B, and each step
        processes one token. Dropout is off, whether the module is in training mode or not.

        Args:
            text_BTD, text_mask_BT: as in `forward`.
            guidance: with 1, only the conditional model is used (half the cost); 0 ignores the text.
            top_k, top_p: see `top_k_filter` and `top_p_filter`.
            temperature: 0 takes the most probable code.
            generator: see `sample_codes`.

        Raises:
            ValueError: shapes or types do not fit, or a sampling option is out of range.
        """
        batch = len(text_BTD)
        codes_BN = torch.zeros(batch, self.tokens, dtype=torch.int64, device=text_BTD.device)
        self._check_inputs(codes_BN[:, :0], text_BTD, text_mask_BT)
        with _evaluating(self):
            decoder = _Decoder(self, text_BTD, text_mask_BT, guided=guidance != 1)
            x_B1d = self.start_token.expand(batch, 1, -1)
            step = _Recorded(decoder, x_B1d, guidance) if text_BTD.device.type == "cuda" else decoder.step
            for position in range(self.tokens):
                logits_BK = step(x_B1d, position, guidance)
                logits_BK = top_p_filter(top_k_filter(logits_BK, top_k), top_p)
                codes_BN[:, position] = sample_codes(logits_BK, temperature=temperature, generator=generator)
                x_B1d = self._embed(codes_BN[:, position : position + 1], position)
        return codes_BN

    @property
    def layers(self) -> list[CatBlock]:
        """`blocks` as a typed list."""
        return cast(list[CatBlock], list(self.blocks))

    def _embed(self, indices_Bn: Tensor, first: int) -> Tensor:
        """Token embeddings plus axial position embeddings of codes at the cells first, first+1, ...: [B,n] -> [B,n,d]."""
        position_Nd = (self.row_position[:, None] + self.column_position).flatten(0, 1)
        return self.token_embedding(indices_Bn) + position_Nd[first : first + indices_Bn.shape[1]]

    def _logits(self, x_Bnd: Tensor) -> Tensor:
        return F.linear(self.output_norm(x_Bnd), self.token_embedding.weight)

    def _self_biases(self, length: int) -> Iterator[Tensor]:
        """Bias and causal mask of every block for the first `length` tokens, [n,H,1+n] each."""
        start = self.tokens - len(self.offsets_NN)  # tokens at the start that have no relative bias
        offsets_nn = self.offsets_NN[: length - start, : length - start]
        return (block.self_bias(offsets_nn, self.visible_NM[:length, : 1 + length]) for block in self.layers)

    def _text_bias(self, text_mask_BT: Tensor, keep_text_B: Tensor | None) -> Tensor:
        """Masks [B,T] and [B] -> [B,1,1,1+T]: 0 for visible keys, among them always the null, else -inf."""
        if keep_text_B is not None:
            text_mask_BT = text_mask_BT & keep_text_B[:, None]
        hidden = ~F.pad(text_mask_BT, (1, 0), value=True)[:, None, None]
        return torch.zeros_like(hidden, dtype=self.start_token.dtype).masked_fill(hidden, -torch.inf)

    def _check_inputs(self, indices_Bn: Tensor, text_BTD: Tensor, text_mask_BT: Tensor) -> None:
        """Check shapes and types only: checking values would synchronise the device."""
        if text_BTD.ndim != 3 or text_BTD.shape[2] != self.text_dim:
            raise ValueError(f"CAT got text embeddings {tuple(text_BTD.shape)}, expected [B, T, {self.text_dim}]")
        if text_mask_BT.shape != text_BTD.shape[:2] or text_mask_BT.dtype != torch.bool:
            raise ValueError(
                f"CAT got a text mask {tuple(text_mask_BT.shape)} of {text_mask_BT.dtype}, "
                f"expected {tuple(text_BTD.shape[:2])} of torch.bool, True for visible tokens"
            )
        if indices_Bn.shape[:1] != text_BTD.shape[:1] or indices_Bn.dtype != torch.int64:
            raise ValueError(
                f"CAT got indices {tuple(indices_Bn.shape)} of {indices_Bn.dtype}, "
                f"expected one row of torch.int64 for each of the {len(text_BTD)} texts"
            )


class _Decoder:
    """State of one `CAT.generate`: key-value caches, text key-values and biases."""

    def __init__(self, model: CAT, text_BTD: Tensor, text_mask_BT: Tensor, *, guided: bool):
        self.model, self.guided = model, guided
        masks = (text_mask_BT, torch.zeros_like(text_mask_BT)) if guided else (text_mask_BT,)
        self.text_bias = model._text_bias(torch.cat(masks), None)
        self.text_kvs = [self._both(block.cross_attention.keys(text_BTD)) for block in model.layers]
        self.biases = list(model._self_biases(model.tokens))
        size = (len(self.text_bias), model.tokens, self.text_kvs[0].dtype)
        self.caches = [block.self_attention.empty_cache(*size) for block in model.layers]

    def _both(self, x: Tensor) -> Tensor:
        return torch.cat((x, x)) if self.guided else x

    def step(self, x_B1d: Tensor, position: int, guidance: float) -> Tensor:
        """Guided logits [B,K] of the code at `position`, given the embedding of the token before it."""
        x_B1d = self.model.input_norm(self._both(x_B1d))
        for block, bias, text_kv, cache in zip(self.model.layers, self.biases, self.text_kvs, self.caches, strict=True):
            x_B1d = block(x_B1d, bias[position, None, :, : 2 + position], text_kv, self.text_bias, cache)
        return self._guided(x_B1d, guidance)

    def step_at(self, x_B1d: Tensor, position: Tensor, guidance: float) -> Tensor:
        """As `step`, with the position on the device, int64 [1]: every step has the same operations on the same shapes. Keys of
        later positions are hidden rather than left out."""
        x_B1d = self.model.input_norm(self._both(x_B1d))
        for block, bias, text_kv, cache in zip(self.model.layers, self.biases, self.text_kvs, self.caches, strict=True):
            x_B1d = block(x_B1d, bias.index_select(0, position), text_kv, self.text_bias, cache, position + 1)
        return self._guided(x_B1d, guidance)

    def _guided(self, x_B1d: Tensor, guidance: float) -> Tensor:
        logits = self.model._logits(x_B1d)[:, 0].float()
        if not self.guided:
            return logits
        conditional_BK, null_BK = logits.chunk(2)
        return null_BK + guidance * (conditional_BK - null_BK)


class _Recorded:
    """`_Decoder.step` on a GPU: its operations are recorded once and replayed for every token. One token gives each of the many
    operations so little to do that starting them one by one takes most of the time."""

    def __init__(self, decoder: _Decoder, x_B1d: Tensor, guidance: float) -> None:
        self.x_B1d, self.position = x_B1d.clone(), torch.zeros(1, dtype=torch.int64, device=x_B1d.device)
        aside = torch.cuda.Stream(x_B1d.device)
        aside.wait_stream(torch.cuda.current_stream(x_B1d.device))
        with torch.cuda.stream(aside):  # the libraries allocate their memory before the recording
            for _ in range(2):
                decoder.step_at(self.x_B1d, self.position, guidance)
        torch.cuda.current_stream(x_B1d.device).wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits_BK = decoder.step_at(self.x_B1d, self.position, guidance)

    def __call__(self, x_B1d: Tensor, position: int, guidance: float) -> Tensor:
        """Logits [B,K], valid until the next call; `guidance` is that of the recording."""
        self.x_B1d.copy_(x_B1d)
        self.position.fill_(position)
        self.graph.replay()
        return self.logits_BK


def raster_offsets(rows: int, columns: int) -> Tensor:
    """Row of the relative bias table for each pair (query cell, key cell) of a grid in raster order.

    Returns:
        [N,N] int64, (di + rows - 1) * (2*columns - 1) + dj + columns - 1 for a query di rows below and dj columns
        right of the key; 0 .. (2*rows-1)*(2*columns-1) - 1.
    """
    cells = torch.arange(rows * columns)
    row_N, column_N = cells // columns, cells % columns
    down_NN = row_N[:, None] - row_N + rows - 1
    right_NN = column_N[:, None] - column_N + columns - 1
    return down_NN * (2 * columns - 1) + right_NN


def cat_parameter_groups(model: nn.Module, weight_decay: float, no_decay: NoDecay) -> list[dict[str, Any]]:
    """Split the trainable parameters of CAT, and of a text encoder trained with it, into AdamW's two groups.

    "official" exempts the same parameters as the official code: biases, embedding tables (hence the tied output too)
    and `torch.nn.LayerNorm`. It decays the gains of CAT's own normalisation, the start token, axial positions and
    nulls. "standard" decays only the weights of linear layers (Loshchilov and Hutter 2019 as in GPT implementations).

    Returns:
        [{"params", "weight_decay"}, {"params", "weight_decay": 0.0}], in the model's order.

    Raises:
        ValueError: `no_decay` is unknown.
    """
    _check_option("no_decay", no_decay, NoDecay)
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                groups[_is_decayed(module, name, no_decay)].append(parameter)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]


def _is_decayed(module: nn.Module, name: str, no_decay: NoDecay) -> bool:
    if no_decay == "standard":
        return isinstance(module, nn.Linear | nn.MultiheadAttention) and name.endswith("weight")
    exempt = isinstance(module, nn.Embedding) or (isinstance(module, nn.LayerNorm) and not isinstance(module, GainNorm))
    return not exempt and not name.endswith("bias")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Context manager: evaluation mode (no dropout) inside, the previous mode afterwards."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _check_option(name: str, value: str, options: Any) -> None:
    if value not in get_args(options):
        raise ValueError(f"{name} is {value!r}, expected one of {list(get_args(options))}")
