"""Bulk embedding: every window of a store through a run's model, into one `.npz`.

Rows are computed in blocks of fixed size. `encode` makes them, `kept_blocks` keeps them in a hidden
folder beside the file, `archive` puts them one after another, `on_cluster` computes them on many
machines; `crossl.commands.embed` is the whole job.
"""
