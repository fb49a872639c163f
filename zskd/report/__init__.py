"""The report: one HTML file about a finished run, or about several side by side."""
