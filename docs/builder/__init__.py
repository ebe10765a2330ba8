"""What turns the pages under docs/ into a site: runs their code, checks their equations, quotes the source."""

import os

# The pages run everything once, so compiling takes most of the time. Read when JAX starts.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
