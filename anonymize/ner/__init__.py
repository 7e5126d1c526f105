"""A trained tagger for what rules cannot list: names, towns, institutions and addresses in running text.

``grammar`` and ``noise`` write labelled text from a language pack, ``train`` (needs torch) fits the network on it,
``network`` runs it with numpy alone. No real report is needed and none is in the models that ship with the package.
"""
