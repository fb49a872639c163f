"""The options of the published methods: one file each, without torch."""
