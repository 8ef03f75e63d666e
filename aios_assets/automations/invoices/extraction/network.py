"""The layout network: a small transformer over the segments of a document, in torch.

Each segment enters as the mean of its hashed words' and letters' embeddings, the same of its left
neighbour, and its place; two layers of attention let segments see each other. After LayoutLM (Xu
et al. 2020), but small, without pretrained weights, and over text runs instead of word pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .fields import FIELDS
from .segments import FIRST, LAST, Page
from .tagging import GRAMS, LAYOUT, grams, layout

if TYPE_CHECKING:
    import torch

TEXTS = 4096  # embeddings that the hashed n-grams share
BATCH = 12
DROPPED = 0.15  # share of n-grams left out at each look, so that misread letters do not matter


def fit(
    pages: list[Page],
    targets: list[np.ndarray],
    *,
    seed: int,
    epochs: int = 14,
    width: int = 64,
    rate: float = 2e-3,
) -> torch.nn.Module:
    """Train a network that gives the logits of each field for each segment, shape (n, fields)."""
    import torch

    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    network = build(width)
    encoded = [encode(page) for page in pages]
    kept = [i for i, (text, _, _) in enumerate(encoded) if len(text)]
    if not kept:
        return network.eval()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    steps = epochs * -(-len(kept) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    weight = torch.full((len(FIELDS),), 3.0)
    network.train()
    for _ in range(epochs):
        order = draw.permutation(kept)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch, wanted, mask = _batch(
                [encoded[i] for i in rows], [targets[i] for i in rows], draw
            )
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network(*batch), wanted, pos_weight=weight, reduction="none"
            )[mask].mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


def encode(page: Page) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a page as arrays: buckets of each text, of its left neighbour's, and the layout.

    Shapes (n, GRAMS), (n, GRAMS) and (n, LAYOUT); bucket 0 stands for nothing.
    """
    own = np.zeros((len(page), GRAMS), dtype=np.int64)
    for at, text in enumerate(page.texts):
        found = grams(text)
        own[at, : len(found)] = np.array(found, dtype=np.int64) % TEXTS + 1
    left = np.where((np.array(page.left) >= 0)[:, None], own[page.left], 0) if len(page) else own
    return own, left, layout(page)


def probabilities(network: Any, page: Page) -> np.ndarray:
    """Return the probability of each field for each segment, shape (n, fields)."""
    import torch

    if not len(page):
        return np.zeros((0, len(FIELDS)))
    own, left, place = encode(page)
    # A document's scores must not depend on how long it is: the exported graph takes from 2 on.
    if len(page) == 1:
        own, left, place = (np.concatenate([one, one]) for one in (own, left, place))
    with torch.inference_mode():
        logits = network(*(torch.from_numpy(one)[None] for one in (own, left, place)))[0]
    found: np.ndarray = torch.sigmoid(logits).numpy().astype(np.float64)[: len(page)]
    return found


def exportable(network: torch.nn.Module) -> tuple[Any, ...]:
    """Return the network with what `torch.export` needs to know."""
    import torch

    n = torch.export.Dim("n", min=2, max=FIRST + LAST)
    example = (
        torch.zeros((1, 9, GRAMS), dtype=torch.int64),
        torch.zeros((1, 9, GRAMS), dtype=torch.int64),
        torch.zeros((1, 9, LAYOUT)),
    )
    return network, example, ({1: n}, {1: n}, {1: n})


def build(width: int) -> torch.nn.Module:
    """Return an untrained network."""
    import torch
    from torch import nn

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
            self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            query, key, value = self.mixed(self.norm(x)).chunk(3, dim=-1)
            seen = torch.softmax(query @ key.transpose(1, 2) / width**0.5 + bias, dim=-1) @ value
            x = x + self.out(seen)
            return x + self.narrow(torch.relu(self.wide(self.after(x))))

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.texts = nn.Embedding(TEXTS + 1, width, padding_idx=0)
            self.beside = nn.Embedding(TEXTS + 1, width // 2, padding_idx=0)
            self.place = nn.Linear(LAYOUT, width)
            self.join = nn.Linear(2 * width + width // 2, width)
            self.near = nn.Conv1d(width, width, 3, padding=1)
            self.layers = nn.ModuleList([Layer(), Layer()])
            self.drop = nn.Dropout(0.2)
            self.out = nn.Linear(width, len(FIELDS))

        def forward(
            self, own: torch.Tensor, left: torch.Tensor, place: torch.Tensor
        ) -> torch.Tensor:
            def mean(table: nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
                count = (ids > 0).sum(-1, keepdim=True).clamp(min=1)
                return table(ids).sum(-2) / count.sqrt()

            parts = [mean(self.texts, own), mean(self.beside, left), self.place(place)]
            x = self.drop(torch.relu(self.join(torch.cat(parts, dim=-1))))
            x = x + torch.relu(self.near(x.transpose(1, 2)).transpose(1, 2))
            # Padding has neither text nor place, and nobody looks at it.
            nothing = (own.sum(-1) == 0) & (place.abs().sum(-1) == 0)
            bias = nothing[:, None].float() * -1e4
            for layer in self.layers:
                x = layer(x, bias)
            logits: torch.Tensor = self.out(self.drop(x))
            return logits

    return Network()


def _batch(encoded: list[Any], targets: list[np.ndarray], draw: np.random.Generator) -> Any:
    import torch

    longest = max(len(place) for _, _, place in encoded)
    own = np.zeros((len(encoded), longest, GRAMS), dtype=np.int64)
    left, place = own.copy(), np.zeros((len(encoded), longest, LAYOUT), dtype=np.float32)
    wanted = np.zeros((len(encoded), longest, len(FIELDS)), dtype=np.float32)
    mask = np.zeros((len(encoded), longest), dtype=bool)
    for row, ((one, beside, where), target) in enumerate(zip(encoded, targets, strict=True)):
        n = len(where)
        own[row, :n] = one * (draw.random(one.shape) >= DROPPED)
        left[row, :n] = beside * (draw.random(beside.shape) >= DROPPED)
        place[row, :n], wanted[row, :n], mask[row, :n] = where, target, True
    batch = tuple(torch.from_numpy(array) for array in (own, left, place))
    return batch, torch.from_numpy(wanted), torch.from_numpy(mask)
