"""Pretraining, probes, fine-tuning, and what they leave on disk."""
