"""What is minimised: an objective maps a batch to a loss. No loops here."""
