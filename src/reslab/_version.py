"""The version, read by the build and by ``reslab --version``."""

__version__ = "0.1.0"
