"""The stages of a run, one function each, as `zskd.pipeline.distill` calls them.

No function called before `score` receives a path to labelled data, unless the user adds gold labels of their own, which
ends the claim of zero shot; the teacher gate reads the task's probe.

Of several processes each labels its part and trains; the main one reads, writes and scores for all.
"""
