"""End to end: a real hub process, the real test cluster, real Jupyter, a real browser.

Run inside the cluster's mount namespace, as scripts/test does:
scripts/dev-cluster exec hub -- python -m pytest tests/e2e
"""
