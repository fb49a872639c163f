"""General distillation: a start for students, from a backbone and plain text, without a task."""

from zskd.pretrain.make import Start, pretrain

__all__ = ["Start", "pretrain"]
