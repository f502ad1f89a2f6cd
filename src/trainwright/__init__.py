"""Train small and medium models from the shell."""

__version__ = "0.2.0.dev0"
