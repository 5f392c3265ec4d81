"""Runtime: an exported run on a device, with numpy and onnxruntime alone.

No torch, and nothing else of crossl's packages. `crossl export` makes the file.
"""

from crossl.runtime.runtime import Answer, Runtime

__all__ = ["Answer", "Runtime"]
