"""Ours and the usual routes side by side, a file a task; ``benchmark.py`` runs them."""
