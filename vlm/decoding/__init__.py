"""Strategies over a DecodingState; they know no model, word or image."""

from vlm.decoding.beams import BeamSearch
from vlm.decoding.diverse import DiverseBeamSearch
from vlm.decoding.ensemble import EnsembleState
from vlm.decoding.sampling import Greedy, Sampling
from vlm.decoding.strategy import Decoded, DecodingState, SpecialTokens, Strategy

__all__ = [
    "BeamSearch",
    "Decoded",
    "DecodingState",
    "DiverseBeamSearch",
    "EnsembleState",
    "Greedy",
    "Sampling",
    "SpecialTokens",
    "Strategy",
]
