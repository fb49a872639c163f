"""The Trainer that distils, its arguments and its data."""
