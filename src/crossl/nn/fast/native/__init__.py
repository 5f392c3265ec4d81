"""Optional compiled kernels; everything works, more slowly, without them."""

from crossl.nn.fast.native.kernels import compiled_kernels

__all__ = ["compiled_kernels"]
