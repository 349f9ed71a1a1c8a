"""The algebra of layouts: axes, views, and how one layout becomes another."""
