"""Metrics, intervals, subgroups, the results page."""
