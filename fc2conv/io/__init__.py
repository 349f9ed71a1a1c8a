"""Files: models that leave their weights on disk, and everything that is read or written beside them."""
