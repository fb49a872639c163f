"""A finished student in use: loading it, answering, exporting."""
