"""Client of the Millrace workflow service: submit, wait, logs, artifacts. Standard library only."""

from .bundle import pack
from .client import Client, Run
from .errors import Error, RunFailed, Unavailable

__all__ = ["Client", "Error", "Run", "RunFailed", "Unavailable", "pack"]
__version__ = "0.1.0"
