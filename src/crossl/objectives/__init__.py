"""Losses: pure functions of embeddings, one file each; they know no model."""

from crossl.objectives.barlow_twins import barlow_twins
from crossl.objectives.cocoa import cocoa
from crossl.objectives.contrastive import dcl, hard_dcl, info_nce
from crossl.objectives.nt_xent import nt_xent
from crossl.objectives.objective import Objective
from crossl.objectives.vicreg import vicreg

__all__ = ["Objective", "barlow_twins", "cocoa", "dcl", "hard_dcl", "info_nce", "nt_xent", "vicreg"]
