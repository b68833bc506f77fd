"""Measuring a cluster: bin/kvbench.py, and what it is made of."""
