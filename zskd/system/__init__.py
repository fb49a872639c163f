"""Foundations without a task: files, Arrow, progress bars, processes, precision."""
