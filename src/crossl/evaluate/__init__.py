"""Frozen latents to classifiers, scores with intervals, missing sensors, sensor worth."""
