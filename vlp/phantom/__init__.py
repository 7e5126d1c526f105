"""A synthetic hospital: radiographs with known truth as DICOM, reports with fake identities."""
