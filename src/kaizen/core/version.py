"""The version, where every floor may read it: the package itself imports them all when asked."""

__version__ = "0.1.0"
