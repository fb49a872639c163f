"""Readable scripts that reproduce every figure stated in the documentation."""

from zskd.system.waiting import wait_briefly

wait_briefly()  # as the command does: before PyTorch is imported
