"""Learn from the hospital's own export: its columns say who is who, and what recurs over patients is its letterhead.

Distant supervision as in Azzouzi et al. 2024, BMC Med Inform Decis Mak 24:54 (10.1186/s12911-024-02422-5): names in the
text are labelled from the structured record, the tagger is trained on, and no one annotates.
"""
