"""From a safe export to a training corpus: decode, pair, split, shard, load."""
