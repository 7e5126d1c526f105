"""The one training loop and what it needs. Knows no task."""
