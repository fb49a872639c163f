"""`ZeroShotTrainer`, its arguments, the objectives, and the place where methods join training."""
