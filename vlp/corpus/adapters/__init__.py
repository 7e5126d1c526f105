"""Sources other than a safe export: each yields :class:`vlp.corpus.source.Source`."""
