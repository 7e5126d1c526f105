"""The subcommands of ``vlp``, one file each. What they share with ``anonymize`` lives in ``anonymize.commands``."""
