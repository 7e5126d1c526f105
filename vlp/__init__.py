"""From a safe export of reports and radiographs to a vision-language model and what a department does with it."""

from anonymize import __version__

__all__ = ["__version__"]
