"""Scores of captions and answers: strings or arrays in, numbers out; imports no torch."""

from vlm.metrics.captions import CaptionScores, score_captions

__all__ = ["CaptionScores", "score_captions"]
