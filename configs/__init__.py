"""Configurations shipped with zskd; `zskd ls` lists them, `--config NAME` uses one."""
