"""Published methods beside the objective."""
