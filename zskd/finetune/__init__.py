"""Training a teacher from labelled rows: a LoRA adapter by default, all weights on request.

The checkpoint is chosen on held-out rows of the training file. The dev file is read once, after that.
"""

from zskd.finetune.teach import Finetuned, finetune

__all__ = ["Finetuned", "finetune"]
