"""`python -m jaxrl.audit`; the same as `jaxrl audit`."""

from jaxrl.audit.command import start

start()
