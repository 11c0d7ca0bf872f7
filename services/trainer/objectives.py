"""Training objectives. Each maps embeddings of a batch to a scalar loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name


class PictureProxies(nn.Module):
    """Instance discrimination with one learned proxy per picture.

    A printing is drawn to its picture's proxy and pushed from all others, so every picture of the
    pool is a negative in every step and one printing per picture suffices. Two terms: a softmax
    over pictures (Zhai and Wu 2019) with a margin (Wang et al. 2018), which ranks, and a logistic
    loss against one threshold shared by all pictures (Zhou et al. 2023, UniFace), which makes
    scores of different queries comparable.
    """

    def __init__(
        self,
        embeddings: Tensor,
        *,
        scale: float,
        margin: float,
        unified: float,
        same: Tensor | None = None,
    ) -> None:
        """Start each proxy at its picture's embedding (unit rows of `embeddings`, [N, D]).

        same: int64 [P, 2], pairs of pictures that may be the same one and must not repel each
            other.
        """
        super().__init__()
        self.proxies = nn.Parameter(embeddings.clone())
        # Where a batch's negatives balance its positives: N exp(-scale * threshold) = 1 for
        # uncorrelated negatives.
        self.threshold = nn.Parameter(
            torch.tensor(float(torch.log(torch.tensor(len(embeddings) + 1.0))) / scale)
        )
        self.scale, self.margin, self.unified = scale, margin, unified
        self.register_buffer("same", torch.empty(0, 2, dtype=torch.int64) if same is None else same)

    same: Tensor

    def forward(self, embeddings: Tensor, *, rows: Tensor) -> Tensor:
        """Loss of embeddings (float32 [B, D], any length), printings of pictures `rows` [B]."""
        cosine = F.normalize(embeddings, dim=1) @ F.normalize(self.proxies, dim=1).T
        if len(self.same):
            batch, pair = (rows[:, None] == self.same[None, :, 0]).nonzero(as_tuple=True)
            cosine = cosine.index_put(
                (batch, self.same[pair, 1]), torch.tensor(-1.0, device=cosine.device)
            )
        own = torch.zeros_like(cosine).scatter_(1, rows[:, None], 1.0)
        ranking = F.cross_entropy(self.scale * (cosine - self.margin * own), rows)
        if self.unified == 0:
            return ranking
        sign = 1 - 2 * own  # +1 for negatives
        logistic = (
            F.softplus(sign * self.scale * (cosine - self.margin * own - self.threshold))
            .sum(dim=1)
            .mean()
        )
        return ranking + self.unified * logistic
