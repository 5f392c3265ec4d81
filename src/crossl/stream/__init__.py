"""Streams: sources of timed chunks, and what a run says of them as they come."""
