"""Environments: pools of N games behind one interface (`Pool`), played by named rules (`PROTOCOLS`)."""

from jaxrl.environments.factory import action_names, default_protocol, make, rules_for, spec
from jaxrl.environments.names import family
from jaxrl.environments.normalization import NormalizerState, init_normalizer, normalize
from jaxrl.environments.pool import Pool, PoolState, Step
from jaxrl.environments.preprocessing import bilinear_matrix, origin_frame
from jaxrl.environments.protocols import PROTOCOLS, Protocol
from jaxrl.environments.spaces import Box, Discrete, Spec

__all__ = [
    "action_names",
    "bilinear_matrix",
    "Box",
    "default_protocol",
    "Discrete",
    "family",
    "init_normalizer",
    "make",
    "normalize",
    "NormalizerState",
    "origin_frame",
    "Pool",
    "PoolState",
    "Protocol",
    "PROTOCOLS",
    "rules_for",
    "spec",
    "Spec",
    "Step",
]
