"""Clinical tasks: each a data adapter, a head, an objective and metrics."""
