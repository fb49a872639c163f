"""The teacher: loading, bulk labelling, the label cache, and the live teacher."""
