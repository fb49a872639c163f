"""Using a finished student: loading, predicting, exporting."""
