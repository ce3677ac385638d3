"""The handlers of the hub's pages, one module per group. `routes.py` says which URL leads to which."""
