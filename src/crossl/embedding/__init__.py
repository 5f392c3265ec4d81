"""Bulk embedding: every window of a store through a run's model, into one `.npz`.

Rows are computed in blocks of fixed size. `encode` makes them, `parts` keeps them in a hidden
folder beside the file, `archive` puts them behind each other, `verb` is the whole job.
"""

from crossl.embedding.verb import embed_store

__all__ = ["embed_store"]
