"""Encoders, masking, aggregators, and the model that joins them, in plain torch.

`fast/` computes the same faster, and can be deleted.
"""

from crossl.nn.attachment import attach_fast_ways

attach_fast_ways()
