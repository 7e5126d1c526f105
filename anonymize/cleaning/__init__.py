"""Cleaning of safe reports: boilerplate, signatures, line wrap, abbreviations, sentences, near-duplicates."""
