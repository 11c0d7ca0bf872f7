"""Training objectives. Each maps the embeddings of a batch and its rows to a scalar loss.

`beside` says for each printing which picture shares its plate, int64 [B], -1 where there is none. A
printing is not repelled by that picture, which it shows as well.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name


class PictureProxies(nn.Module):
    """Tells pictures apart, each by one learned proxy.

    A printing is attracted by its picture's proxy and repelled by all others, so every picture of
    the pool is a negative in every step and one printing per picture suffices. There are two terms:
    a softmax over pictures (Zhai and Wu 2019) with a margin (Wang et al. 2018), which ranks, and a
    logistic loss against one threshold shared by all pictures (Zhou et al. 2023, UniFace), which
    makes scores of different queries comparable. A third term, with the weight `koleo`, spreads the
    pictures out: Kozachenko and Leonenko's estimate of entropy (Sablayrolles et al. 2019), which
    copy detectors gain from (Pizzi et al. 2022, SSCD).
    """

    def __init__(
        self,
        embeddings: Tensor,
        *,
        scale: float,
        margin: float,
        unified: float,
        same: Tensor | None = None,
        koleo: float = 0.0,
    ) -> None:
        """Start each proxy at the embedding of its picture.

        Args:
            embeddings: Unit rows, float32 [N, D].
            scale: Inverse temperature.
            margin: The margin by which a printing must prefer its picture.
            unified: The weight of the logistic loss; 0 leaves it out.
            same: Pairs of pictures that may be the same one and must not repel each other, int64
                [P, 2].
            koleo: The weight of `entropy_loss`; 0 leaves it out.
        """
        super().__init__()
        self.proxies = nn.Parameter(embeddings.clone())
        # Start where a batch's negatives balance its positives: N exp(-scale * threshold) = 1 for
        # uncorrelated negatives.
        self.threshold = nn.Parameter(
            torch.tensor(float(torch.log(torch.tensor(len(embeddings) + 1.0))) / scale)
        )
        self.scale, self.margin, self.unified = scale, margin, unified
        self.koleo = koleo
        self.register_buffer("same", torch.empty(0, 2, dtype=torch.int64) if same is None else same)

    same: Tensor

    def forward(self, embeddings: Tensor, *, rows: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the loss of printings.

        Args:
            embeddings: The embeddings of the printings, float32 [B, D].
            rows: int64 [B], the picture of each printing.
            beside: The pictures on the same plates; see above.
        """
        cosine = F.normalize(embeddings, dim=1) @ F.normalize(self.proxies, dim=1).T
        if beside is not None:
            shared = ((beside >= 0) & (beside != rows)).nonzero().flatten()
            cosine = cosine.index_put(
                (shared, beside[shared]), torch.tensor(-1.0, device=cosine.device)
            )
        if len(self.same):
            batch, pair = (rows[:, None] == self.same[None, :, 0]).nonzero(as_tuple=True)
            cosine = cosine.index_put(
                (batch, self.same[pair, 1]), torch.tensor(-1.0, device=cosine.device)
            )
        own = torch.zeros_like(cosine).scatter_(1, rows[:, None], 1.0)
        ranking = F.cross_entropy(self.scale * (cosine - self.margin * own), rows)
        if self.koleo:
            others = cosine.masked_fill(own > 0, -1.0)
            ranking = ranking + self.koleo * entropy_loss(embeddings, rows=rows, others=others)
        if self.unified == 0:
            return ranking
        sign = 1 - 2 * own  # +1 for negatives
        logistic = (
            F.softplus(sign * self.scale * (cosine - self.margin * own - self.threshold))
            .sum(dim=1)
            .mean()
        )
        return ranking + self.unified * logistic


class SceneClassifier(nn.Module):
    """Cross-entropy over groups, from scaled cosines to one vector per class.

    Classes are weighted.
    """

    def __init__(
        self, embeddings: Tensor, *, labels: Tensor, weights: Tensor, scale: float, margin: float
    ) -> None:
        """Start each class at the mean of its pictures.

        Args:
            embeddings: Unit rows, float32 [N, D].
            labels: int64 [N], the class of each row, 0 to C - 1.
            weights: float32 [C].
            scale: Inverse temperature.
            margin: The margin by which a picture must prefer its class.
        """
        super().__init__()
        means = embeddings.new_zeros(len(weights), embeddings.shape[1])
        means.index_add_(0, labels, embeddings)
        self.classes = nn.Parameter(F.normalize(means, dim=1))
        self.scale, self.margin = scale, margin
        self.register_buffer("labels", labels)
        self.register_buffer("weights", weights)

    labels: Tensor
    weights: Tensor

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return logits over classes, [B, C], of embeddings (float32 [B, D], any length)."""
        cosine = F.normalize(embeddings, dim=1) @ F.normalize(self.classes, dim=1).T
        return self.scale * cosine

    def forward(self, embeddings: Tensor, *, rows: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the loss of printings of pictures `rows` [B], given as embeddings.

        The weighted mean divides by the batch, not by its weights, so that parts of a batch add up.
        """
        labels = self.labels[rows]
        logits = self.logits(embeddings)
        if beside is not None:
            others = self.labels[beside]
            shared = ((beside >= 0) & (others != labels)).nonzero().flatten()
            logits = logits.index_put(
                (shared, others[shared]), torch.tensor(-torch.inf, device=logits.device)
            )
        own = torch.zeros_like(logits).scatter_(1, labels[:, None], self.scale * self.margin)
        single = F.cross_entropy(logits - own, labels, reduction="none")
        return (single * self.weights[labels]).mean()


class SceneMetric(nn.Module):
    """Attracts pictures of a group and repels others, the hardest of them from a memory.

    The memory holds the latest embedding of every training picture (Wang et al. 2020, cross-batch
    memory, but of the whole set). Each picture meets its batch, all its partners in memory, and the
    `hard` strangers that are closest to it there.
    """

    def __init__(
        self,
        embeddings: Tensor,
        *,
        families: Tensor,
        composite: Tensor,
        links: Tensor,
        hard: int,
        loss: Literal["multi_similarity", "supervised_contrastive"],
        scale: float,
        base: float = 0.5,
    ) -> None:
        """Start the memory with unit rows `embeddings`, [N, D].

        Args:
            embeddings: The embeddings of the training pictures.
            families: int64 [N], the family of each picture. Pictures of different families repel.
            composite: bool [N], whether the picture's family is composite, so that only its links
                attract.
            links: int64 [P, 2], pairs of rows within composite families that attract.
            hard: The number of strangers from the memory for each picture: the closest pictures of
                other families.
            loss: Multi-similarity (Wang et al. 2019) or supervised contrastive (Khosla et al.
                2020).
            scale: Inverse temperature of the supervised contrastive loss.
            base: The cosine between alike and different of the multi-similarity loss.
        """
        # Imported here because it loads scipy's statistics, over a second that other objectives
        # need not wait for.
        from pytorch_metric_learning import losses  # type: ignore[import-untyped]  # noqa: PLC0415

        super().__init__()
        self.hard = hard
        self.register_buffer("memory", embeddings.clone())
        self.register_buffer("families", families, persistent=False)
        self.register_buffer("composite", composite, persistent=False)
        both = torch.cat([links, links.flip(1), torch.arange(len(families))[:, None].expand(-1, 2)])
        codes = both[:, 0] * len(families) + both[:, 1]
        self.register_buffer("linked", codes, persistent=False)
        self._loss = (
            losses.MultiSimilarityLoss(alpha=2, beta=50, base=base)
            if loss == "multi_similarity"
            else losses.SupConLoss(temperature=1 / scale)
        )

    memory: Tensor
    families: Tensor
    composite: Tensor
    linked: Tensor

    def forward(self, embeddings: Tensor, *, rows: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the loss of printings of `rows` [B], given as embeddings float32 [B, D]."""
        everything = torch.arange(len(self.memory), device=rows.device)
        positive, negative = self.compare(rows, everything)
        here, apart = self.compare(rows, rows)
        if beside is not None:
            negative &= ~self._shares(beside, everything)
            shared = self._shares(beside, rows)
            apart &= ~(shared | shared.T)
        with torch.no_grad():
            closeness = F.normalize(embeddings, dim=1) @ self.memory.T
            closeness[~negative] = -torch.inf
            hardest = closeness.topk(min(self.hard, len(self.memory)), dim=1).indices
        chosen = positive.any(dim=0)
        chosen[hardest.flatten()] = True
        remembered = chosen.nonzero().flatten()
        here.fill_diagonal_(False)  # noqa: FBT003  # torch's own signature
        attract = torch.cat([here, positive[:, remembered]], dim=1)
        repel = torch.cat([apart, negative[:, remembered]], dim=1)
        others = torch.cat([embeddings, self.memory[remembered]])
        pairs = (*attract.nonzero(as_tuple=True), *repel.nonzero(as_tuple=True))
        loss: Tensor = self._loss(embeddings, indices_tuple=pairs, ref_emb=others)
        return loss

    def _shares(self, beside: Tensor, others: Tensor) -> Tensor:
        """Return which of `others` [M] are of the family that shares a plate: bool [B, M]."""
        same = self.families[beside][:, None] == self.families[others][None]
        return same & (beside >= 0)[:, None]

    def remember(self, embeddings: Tensor, *, rows: Tensor) -> None:
        """Store the embeddings [B, D] of `rows` in memory. The last one counts if a row repeats."""
        places = {int(row): place for place, row in enumerate(rows)}
        where, which = torch.tensor([list(places), list(places.values())]).to(embeddings.device)
        self.memory[where] = F.normalize(embeddings.detach()[which], dim=1)

    def compare(self, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return which of `rows` [B] and `others` [M] attract and which repel: bool [B, M] each."""
        same = self.families[rows][:, None] == self.families[others][None]
        codes = rows[:, None] * len(self.families) + others[None]
        doubtful = same & self.composite[rows][:, None]
        positive = same & ~doubtful
        positive[doubtful] = torch.isin(codes[doubtful], self.linked)
        return positive, ~same


def entropy_loss(embeddings: Tensor, *, rows: Tensor, others: Tensor | None = None) -> Tensor:
    """Return a loss that is lower the farther the embeddings of a batch lie from each other.

    For each embedding, it takes -log of the distance to the nearest embedding of another picture;
    the loss is the mean. The embeddings are scaled to length one first.

    Args:
        embeddings: float32 [B, D].
        rows: int64 [B], the row of the picture that each embedding shows.
        others: float32 [B, M], the cosines to pictures beyond the batch, which count as well: a
            small batch holds few pictures that are alike. Those that count for nothing are -1.
    """
    unit = F.normalize(embeddings, dim=1)
    cosine = unit @ unit.T
    cosine = cosine.masked_fill(rows[:, None] == rows[None], -1.0)
    nearest = cosine.amax(dim=1)
    if others is not None:
        nearest = torch.maximum(nearest, others.amax(dim=1))
    distance = (2 - 2 * nearest).clamp(min=1e-6).sqrt()
    return -distance.log().mean()
