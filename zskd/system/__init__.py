"""Foundations: files, Arrow, progress bars, processes, precision, random streams, the machine."""
