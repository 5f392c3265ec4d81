"""What pretraining minimises, one file each: a method holds a model and gives its loss.

`Method` says what the trainer asks of one. `paper` and `crossl` are CroSSL (arXiv 2307.16847):
latents are masked twice, one aggregator joins each view, VICReg makes the two agree.
"""

from crossl.methods.autoencoder import AutoencoderConfig, AutoencoderMethod
from crossl.methods.cmc import CmcConfig, CmcMethod
from crossl.methods.cocoa import CocoaConfig, CocoaMethod
from crossl.methods.cross_reconstruction import (
    CrossReconstructionConfig,
    CrossReconstructionMethod,
)
from crossl.methods.crossl import CrosslMethod, CrosslMethodConfig
from crossl.methods.dependent_split import DependentSplitConfig, DependentSplitMethod
from crossl.methods.distil import DistilConfig, DistilMethod
from crossl.methods.focal import FocalConfig, FocalMethod
from crossl.methods.hybrid import HybridConfig, HybridMethod
from crossl.methods.joint_embedding import JointEmbeddingConfig, JointEmbeddingMethod
from crossl.methods.masked_autoencoder import MaskedAutoencoderConfig, MaskedAutoencoderMethod
from crossl.methods.method import Method, MethodConfig
from crossl.methods.paper import PaperMethod, PaperMethodConfig
from crossl.methods.simclr import SimclrConfig, SimclrMethod
from crossl.methods.ts2vec import Ts2vecConfig, Ts2vecMethod
from crossl.methods.ts_tcc import TsTccConfig, TsTccMethod

__all__ = [
    "AutoencoderConfig",
    "AutoencoderMethod",
    "CmcConfig",
    "CmcMethod",
    "CocoaConfig",
    "CocoaMethod",
    "CrossReconstructionConfig",
    "CrossReconstructionMethod",
    "CrosslMethod",
    "CrosslMethodConfig",
    "DependentSplitConfig",
    "DependentSplitMethod",
    "DistilConfig",
    "DistilMethod",
    "FocalConfig",
    "FocalMethod",
    "HybridConfig",
    "HybridMethod",
    "JointEmbeddingConfig",
    "JointEmbeddingMethod",
    "MaskedAutoencoderConfig",
    "MaskedAutoencoderMethod",
    "Method",
    "MethodConfig",
    "PaperMethod",
    "PaperMethodConfig",
    "SimclrConfig",
    "SimclrMethod",
    "Ts2vecConfig",
    "Ts2vecMethod",
    "TsTccConfig",
    "TsTccMethod",
]
