"""Faster ways to compute what `crossl.nn` says, the same to rounding; this folder can be deleted.

What is attached to what stands here, and nowhere else; see `crossl.nn.attachment`.
"""

from crossl.nn import attachment
from crossl.nn.attachment import attach
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.nn.fast import blocks, encoders, few_windows, side_by_side, threads
from crossl.nn.layers import apply_each
from crossl.nn.model import CrossModalModel

attach(TcnEncoder.forward, encoders.encode_tcn)
attach(StridedEncoder.forward, encoders.encode_strided)
attach(apply_each, side_by_side.apply_each)
attach(
    CrossModalModel.blank_absent,
    lambda _model, batch: batch.signals,
    applies=lambda _model, batch: batch.present.device.type == "cpu" and bool(batch.present.all()),
)
attach(CrossModalModel.encode, few_windows.encode, applies=few_windows.is_ready)
attach(CrossModalModel.prepare_for_few_windows, few_windows.prepare)
attach(attachment.run_in_parts, threads.on_threads)
attach(attachment.kernels_in_use, lambda: blocks.fastest_kernels().known_as)
attach(attachment.forget_memory, blocks.forget_memory)
