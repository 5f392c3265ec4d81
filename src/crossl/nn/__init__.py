"""Encoders, masking, aggregators, and the model that joins them."""
