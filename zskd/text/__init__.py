"""Out-of-domain text: reading and cleaning it, and shaping it into classifier inputs."""
