"""Targets: what the compiler of a chip or a runtime takes and prefers, as data, and which layers are legal there."""
