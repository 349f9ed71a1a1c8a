"""The model as it is read: graphs, definitions, shapes, constants."""
