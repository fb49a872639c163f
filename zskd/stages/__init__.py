"""The stages of a run, one function each, as `zskd.pipeline.distill` calls them.

No function called before `score` receives a path to labelled data. There are two exceptions: the teacher gate reads the
task's probe, and a user may add gold labels, after which the run no longer counts as zero-shot.

With several processes, each one labels its part of the inputs and trains. The main process reads, writes and scores for
all of them.
"""
