"""Environments: pools of N games behind one interface (`Pool`), played by named rules (`PROTOCOLS`)."""

from jaxrl.environments.factory import action_names as action_names
from jaxrl.environments.factory import default_protocol as default_protocol
from jaxrl.environments.factory import make as make
from jaxrl.environments.factory import rules_for as rules_for
from jaxrl.environments.factory import spec as spec
from jaxrl.environments.names import family as family
from jaxrl.environments.normalization import NormalizerState as NormalizerState
from jaxrl.environments.normalization import init_normalizer as init_normalizer
from jaxrl.environments.normalization import normalize as normalize
from jaxrl.environments.pool import Pool as Pool
from jaxrl.environments.pool import PoolState as PoolState
from jaxrl.environments.pool import Step as Step
from jaxrl.environments.preprocessing import bilinear_matrix as bilinear_matrix
from jaxrl.environments.preprocessing import origin_frame as origin_frame
from jaxrl.environments.protocols import PROTOCOLS as PROTOCOLS
from jaxrl.environments.protocols import Protocol as Protocol
from jaxrl.environments.spaces import Box as Box
from jaxrl.environments.spaces import Discrete as Discrete
from jaxrl.environments.spaces import Spec as Spec
