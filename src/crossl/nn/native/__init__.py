"""Optional compiled kernels; everything works, more slowly, without them."""

from crossl.nn.native.epilogue import native_epilogue

__all__ = ["native_epilogue"]
