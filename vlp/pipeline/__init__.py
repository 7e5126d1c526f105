"""``vlp run``: the stages of a configuration in order, each the command a person would type."""
