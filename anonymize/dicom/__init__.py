"""DICOM radiographs made pseudonymous: header by a keep-list under PS3.15 Annex E, burned-in text masked."""
