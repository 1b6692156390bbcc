"""Text to tokens: the scorers' tokenisation and the captioner's."""
