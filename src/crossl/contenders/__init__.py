"""What an experiment compares, one file a kind.

A contender is anything that can be fitted on a fold's training subjects, tuned on its validation
subjects, and asked for predictions of test windows under a subset of sensors. Importing this
package registers crossl's own kinds.
"""

from crossl.contenders.boosting import BoostingConfig
from crossl.contenders.catch22 import Catch22Config
from crossl.contenders.contender import Contender, Context, Draw, Outcome, contender_hashes
from crossl.contenders.features import LogisticConfig, MinirocketConfig
from crossl.contenders.hydra import HydraConfig
from crossl.contenders.impute import ImputeConfig
from crossl.contenders.networks import PretrainedConfig, UntrainedConfig
from crossl.contenders.supervised import FinetunedConfig, MlpContenderConfig, SupervisedConfig
from crossl.contenders.transferred import TransferredConfig
from crossl.contenders.trees import ExtraTreesConfig, ForestConfig
from crossl.contenders.tuned import contender_of

__all__ = [
    "BoostingConfig",
    "Catch22Config",
    "Contender",
    "Context",
    "Draw",
    "ExtraTreesConfig",
    "FinetunedConfig",
    "ForestConfig",
    "HydraConfig",
    "ImputeConfig",
    "LogisticConfig",
    "MinirocketConfig",
    "MlpContenderConfig",
    "Outcome",
    "PretrainedConfig",
    "SupervisedConfig",
    "TransferredConfig",
    "UntrainedConfig",
    "contender_hashes",
    "contender_of",
]
