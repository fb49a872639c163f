"""How fast, how large and how well zskd runs on this machine; each prints a small table and writes JSON."""
