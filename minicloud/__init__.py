"""minicloud: a whole OpenStack-compatible cloud in one process, for one machine."""

__version__ = "0.1.0"
