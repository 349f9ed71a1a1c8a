"""Adapters for other people's pipelines: each needs the library that it is named after, and is imported by its name."""
