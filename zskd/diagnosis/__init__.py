"""What a teacher's output says before anything is distilled (`zskd diagnose`)."""
