"""`zskd diagnose`: signals in a teacher's answers, findings, and advice before distillation."""
