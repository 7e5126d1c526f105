"""Stage 1: pseudonymise hospital exports. Nothing that identifies a person leaves this package.

This package imports nothing from ``vlp`` and works where torch is not installed.
"""

__version__ = "0.1.0"
