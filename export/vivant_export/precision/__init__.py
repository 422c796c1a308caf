"""FP32 graphs in FP16, and in INT8 with Q/DQ nodes.

The file alone says what is computed in which type: TensorRT builds strongly typed networks.
"""

from vivant_export.precision.fp16 import rounded, to_fp16
from vivant_export.precision.int8 import Scheme, to_int8

__all__ = ["Scheme", "rounded", "to_fp16", "to_int8"]
