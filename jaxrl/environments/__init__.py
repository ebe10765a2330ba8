"""Environments: pools of N games behind one interface (`Pool`), played by named rules (`PROTOCOLS`)."""

from jaxrl.environments.factory import make as make
from jaxrl.environments.pool import Pool as Pool
from jaxrl.environments.pool import PoolState as PoolState
from jaxrl.environments.pool import Step as Step
from jaxrl.environments.protocols import PROTOCOLS as PROTOCOLS
from jaxrl.environments.protocols import Protocol as Protocol
