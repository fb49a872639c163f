"""General distillation: a start for students, from a backbone and plain text, without a task."""

from zskd.pretrain.make import pretrain
from zskd.runs.start_record import Start

__all__ = ["Start", "pretrain"]
