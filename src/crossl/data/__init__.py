"""Recordings, windows, the store, splits and batches."""
