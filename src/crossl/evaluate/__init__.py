"""Scores with confidence intervals, missing sensors, sensor worth."""
