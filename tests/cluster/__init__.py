"""Tests against the real cluster of scripts/dev-cluster."""
