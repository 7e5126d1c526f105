"""Presidio's recognizer interface, imported without the model libraries that it would load beside it.

``presidio_analyzer`` imports torch, transformers, stanza and gliner where they are installed (10 s and 500 MB), for
recognizers that this package does not use. They are hidden while it is imported, and only then.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_MODELS = ("torch", "transformers", "stanza", "gliner", "spacy_huggingface_pipelines")


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # import then raises ImportError, which Presidio expects
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


if "presidio_analyzer" in sys.modules:
    from presidio_analyzer import EntityRecognizer, RecognizerRegistry, RecognizerResult
    from presidio_analyzer.nlp_engine import NlpArtifacts
else:
    with _without(_MODELS):
        from presidio_analyzer import EntityRecognizer, RecognizerRegistry, RecognizerResult
        from presidio_analyzer.nlp_engine import NlpArtifacts

__all__ = ["EntityRecognizer", "NlpArtifacts", "RecognizerRegistry", "RecognizerResult"]
