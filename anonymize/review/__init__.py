"""The review page: a person sees originals and safe reports side by side, corrects spans, and the corrections become gold.

``data`` pairs reports, ``alignment`` their offsets, ``risk`` says where to look first, ``journal`` keeps what the person
decided, ``gold`` writes it and estimates what leaks, ``server`` and ``guard`` are the local page.
"""
