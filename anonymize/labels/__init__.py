"""Labels mined from the words of safe reports: present, absent, uncertain, not mentioned, with qualifiers."""
