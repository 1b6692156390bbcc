"""The floor of a training step: its matrix multiplications alone, forward and backward."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from routes.rounds import Route
from routes.sizes import REGION_WIDTH, Sizes

Times = Callable[[Tensor, Tensor], Tensor]  # (rows, inner), (columns, inner): (rows, columns)
BOX_WAVES = 48  # sines and cosines that tell a box: of 4 sides, in 6 octaves


class Product(NamedTuple):
    """``times`` times a batch of ``(rows, inner)`` by ``(inner, columns)``.

    Attributes:
        given: whether the left side is data, which needs no gradient.
    """

    rows: int
    inner: int
    columns: int
    batch: int = 1
    times: int = 1
    given: bool = False

    @property
    def operations(self) -> int:
        """Additions and multiplications, forward and backward."""
        passes = 2 if self.given else 3
        return 2 * passes * self.times * self.batch * self.rows * self.inner * self.columns


def matrix_products(sizes: Sizes, real: Tensor) -> list[Product]:
    """All that a training step cannot do without.

    No text is padded and no memory repeated: every projection meets the real tokens, every
    image's keys and values are made once, a caption attends to itself alone. In attention
    captions count as equally long.

    Args:
        sizes: of the step.
        real: ``(B, C, L)``, True where a token is read.
    """
    tokens, seen, wide = int(real.sum()), sizes.images * sizes.regions, sizes.width
    captions = sizes.images * sizes.texts
    a_caption, an_image = round(tokens / captions), round(tokens / sizes.images)
    layers, head = sizes.layers, wide // sizes.heads
    among, across = captions * sizes.heads, sizes.images * sizes.heads
    return [
        Product(seen, REGION_WIDTH, wide),
        Product(seen, BOX_WAVES, wide, given=True),
        Product(seen, wide, 2 * wide, times=layers),  # keys and values of the regions
        Product(tokens, wide, 3 * wide, times=layers),  # queries, keys and values of the text
        Product(tokens, wide, wide, times=3 * layers),  # two outputs, and queries of the regions
        Product(tokens, wide, 4 * wide, times=layers),
        Product(tokens, 4 * wide, wide, times=layers),
        Product(a_caption, head, a_caption, batch=among, times=layers),
        Product(a_caption, a_caption, head, batch=among, times=layers),
        Product(an_image, head, sizes.regions, batch=across, times=layers),
        Product(an_image, sizes.regions, head, batch=across, times=layers),
        Product(tokens, wide, sizes.vocabulary),
    ]


def run(products: list[Product], device: torch.device, times: Times) -> Route:
    """One pass over all of them."""
    acts = [(product, _multiply(product, device, times)) for product in products]

    def act() -> None:
        for product, multiply in acts:
            for _ in range(product.times):
                multiply()

    return act


def _multiply(product: Product, device: torch.device, times: Times) -> Route:
    """Forward, and the gradients of both sides; weights lie as linear layers keep them."""
    batch = () if product.batch == 1 else (product.batch,)
    left = torch.randn(*batch, product.rows, product.inner, device=device)
    weight = torch.randn(*batch, product.columns, product.inner, device=device)
    upstream = torch.randn(*batch, product.rows, product.columns, device=device)
    multiplied = _by_batch if batch else times  # those of attention are no linear layers

    def multiply() -> None:
        multiplied(left, weight)
        multiplied(upstream.mT, left.mT)
        if not product.given:
            multiplied(upstream, weight.mT)

    return multiply


def _by_batch(left: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(left, weight.mT)
