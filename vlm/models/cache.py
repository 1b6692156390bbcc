"""TextCache: what a decoder remembers of texts in the making; none of it is ever moved."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlm.models.attention import KeyValues

ROOM = 16  # tokens a row that room is made for at a time


class TextCache:
    """Keys and values of every token that any row of a sequence wrote.

    The rows of a sequence look at all of them through a mask that shows each row what it goes on
    from. When rows change places, as the beams of a search do at every step, the mask alone
    changes: an index of ancestors in place of copies of keys and values.

    Args:
        real: ``(Q, L)``, True for the tokens of the ``Q`` sequences that rows go on from, False
            where a sequence pads; ``L`` is 0 for texts that start from nothing.
        past: keys and values of those, ``(Q, H, L, d)`` a layer.
    """

    def __init__(self, real: Tensor, past: Sequence[KeyValues] = ()) -> None:
        self._buffers = list(past)
        self._heard = real.unsqueeze(1)
        self._before = self._used = real.shape[1]
        self.length = real.shape[1]

    def widen(self, rows: int) -> Tensor:
        """Makes a place for one more token of each row.

        Returns:
            ``(Q, 1, K, S)``, True where each of the ``K`` rows may look among the ``S`` tokens
            that there are then.
        """
        self._before = self._used
        self._used += rows
        self.length += 1
        own = torch.eye(rows, dtype=torch.bool, device=self._heard.device)
        everyone = len(self._heard), rows, -1
        self._heard = torch.cat([self._heard.expand(everyone), own.expand(everyone)], dim=2)
        return self._heard.unsqueeze(1)

    def extend(self, layer: int, own: KeyValues) -> KeyValues:
        """Takes in a layer's keys and values of the newest tokens, ``(Q, H, K, d)``.

        Returns:
            those of all tokens, ``(Q, H, S, d)``.
        """
        if layer == len(self._buffers):
            self._buffers.append(_with_room(own, ROOM * own.keys.shape[2]))
        elif self._used > self._buffers[layer].keys.shape[2]:
            filled = KeyValues(*(part[:, :, : self._before] for part in self._buffers[layer]))
            self._buffers[layer] = _with_room(filled, self._before + ROOM * own.keys.shape[2])
        for buffer, part in zip(self._buffers[layer], own, strict=True):
            buffer[:, :, self._before : self._used] = part
        return KeyValues(*(buffer[:, :, : self._used] for buffer in self._buffers[layer]))

    def reorder(self, rows: Tensor) -> None:
        """Row ``k`` of sequence ``q`` goes on from its old row ``rows[q, k]``; ``(Q, K')``."""
        index = rows.unsqueeze(2).expand(-1, -1, self._used)
        self._heard = self._heard.gather(1, index)

    def keep(self, sequences: Tensor) -> None:
        """Forgets all sequences but these, ``(Q',)`` indices."""
        self._buffers = [buffer.select(sequences) for buffer in self._buffers]
        self._heard = self._heard.index_select(0, sequences)


def _with_room(filled: KeyValues, room: int) -> KeyValues:
    """The same with places for ``room`` tokens."""
    fresh = []
    for part in filled:
        queries, heads, length, width = part.shape
        wide = part.new_empty(queries, heads, room, width)
        wide[:, :, :length] = part
        fresh.append(wide)
    return KeyValues(*fresh)
