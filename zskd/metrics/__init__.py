"""Pure scores: functions of logits and labels."""
