"""Out-of-domain text: reading it, cleaning it, shaping it into classifier inputs, choosing among them."""
